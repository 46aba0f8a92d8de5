//! Network access of guests: outgoing TCP to what the job names, and nothing else.
//!
//! Names are resolved once for an attempt, by the daemon. What they mean from then on is pinned: a guest that asks for a
//! name it was granted gets the pinned address, and a connection goes to a pinned address and its port or is denied.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, OnceLock},
};

use wasmtime::component::{HasData, Linker, Resource};
use wasmtime_wasi::{
    WasiCtxBuilder,
    p2::{
        DynPollable, Network as Capability, SocketError,
        bindings::sockets::{
            ip_name_lookup::{self, HostResolveAddressStream, ResolveAddressStream},
            network::{self, ErrorCode, IpAddress},
        },
    },
    sockets::{SocketAddrUse, WasiSocketsView},
};
use weir_wire::{work::NetGrant, worker::Pinned};

use crate::state::State;

/// Most addresses of one name.
const ADDRESSES_MAX: usize = 16;

/// What one attempt may connect to, once that is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins(Arc<OnceLock<Vec<Pinned>>>);

impl Pins {
    /// Sets what was found out; the first time counts.
    pub(crate) fn set(&self, pins: Vec<Pinned>) {
        let _first_counts = self.0.set(pins);
    }

    /// Lets a guest connect to what is pinned.
    pub(crate) fn add_to(&self, builder: &mut WasiCtxBuilder) {
        let pins = self.clone();
        builder.allow_tcp(true).allow_ip_name_lookup(true).socket_addr_check(move |to, purpose| {
            let allowed = match purpose {
                SocketAddrUse::TcpConnect => pins.allows(to),
                // What the kernel does by itself before it connects.
                SocketAddrUse::TcpBind => to.ip().is_unspecified() && to.port() == 0,
                SocketAddrUse::TcpListen
                | SocketAddrUse::TcpAccept
                | SocketAddrUse::UdpBind
                | SocketAddrUse::UdpSend
                | SocketAddrUse::UdpReceive => false,
            };
            Box::pin(async move { allowed }) as Pin<Box<dyn Future<Output = bool> + Send + Sync>>
        });
    }

    fn all(&self) -> impl Iterator<Item = &Pinned> {
        self.0.get().into_iter().flatten()
    }

    fn allows(&self, to: SocketAddr) -> bool {
        let named = |pin: &Pinned| pin.addresses.iter().any(|text| text.parse().ok() == Some(to.ip().to_canonical()));
        self.all().any(|pin| pin.port == u32::from(to.port()) && named(pin))
    }

    /// The pinned address of a name, as text.
    fn address(&self, name: &str) -> Option<String> {
        let same = |pin: &&Pinned| pin.host.eq_ignore_ascii_case(name.trim_end_matches('.'));
        self.all().find(same).and_then(|pin| pin.addresses.first().cloned())
    }
}

/// Resolves what a job names; it may wait for a name server.
///
/// # Errors
/// A name that has no address which may be connected to, for people.
pub(crate) fn resolve(grants: &[NetGrant]) -> Result<Vec<Pinned>, String> {
    grants
        .iter()
        .map(|grant| pinned(grant, |host| Ok((host, 0).to_socket_addrs()?.map(|found| found.ip()).collect())))
        .collect()
}

fn pinned(grant: &NetGrant, look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>>) -> Result<Pinned, String> {
    let host = grant.host.as_str();
    let found: Vec<IpAddr> = match host.parse::<IpAddr>() {
        Ok(literal) => vec![literal.to_canonical()],
        Err(_) => {
            let found = look_up(host).map_err(|error| format!("cannot resolve {host:?}: {error}"))?;
            let allowed = found.iter().map(IpAddr::to_canonical).filter(|address| is_public(*address));
            allowed.take(ADDRESSES_MAX).collect()
        }
    };
    if found.is_empty() {
        return Err(format!("{host:?} has no public address; name others by the address itself"));
    }
    let addresses = found.iter().map(ToString::to_string).collect();
    Ok(Pinned { host: host.to_owned(), port: grant.port, addresses })
}

/// Whether a name may lead there: not to this machine, its link, its metadata, private networks, or many at once.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_unspecified()
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || address.is_broadcast();
    // "This network", shared by carriers, protocol assignments, benchmarks, reserved.
    !(special
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let first = address.segments()[0];
    // Only global unicast, without documentation, and without what leads to an IPv4 address through a relay.
    let relayed = first == 0x2002 || address.segments()[..2] == [0x2001, 0];
    first & 0xe000 == 0x2000 && !relayed && address.segments()[..2] != [0x2001, 0xdb8]
}

/// Has names answered from the pins.
pub(crate) fn add_to_components(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    ip_name_lookup::add_to_linker::<State, Names>(linker, |state| View(state))?;
    linker.allow_shadowing(false);
    Ok(())
}

struct Names;

impl HasData for Names {
    type Data<'a> = View<'a>;
}

struct View<'a>(&'a mut State);

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Capability>,
        name: String,
    ) -> Result<Resource<ResolveAddressStream>, SocketError> {
        let pins = self.0.pins.as_ref().ok_or(ErrorCode::AccessDenied)?;
        // An address is its own answer, without a question to anybody.
        let address = pins.address(&name).ok_or(ErrorCode::AccessDenied)?;
        self.0.sockets().resolve_addresses(network, address)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Capability>) -> wasmtime::Result<()> {
        network::HostNetwork::drop(&mut self.0.sockets(), network)
    }
}

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> wasmtime::Result<ErrorCode> {
        self.0.sockets().convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        self.0.sockets().network_error_code(error)
    }
}

impl HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ResolveAddressStream>,
    ) -> Result<Option<IpAddress>, SocketError> {
        self.0.sockets().resolve_next_address(stream)
    }

    fn subscribe(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<Resource<DynPollable>> {
        HostResolveAddressStream::subscribe(&mut self.0.sockets(), stream)
    }

    fn drop(&mut self, stream: Resource<ResolveAddressStream>) -> wasmtime::Result<()> {
        HostResolveAddressStream::drop(&mut self.0.sockets(), stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(host: &str) -> NetGrant {
        NetGrant { host: host.to_owned(), port: 443 }
    }

    #[test]
    fn names_lead_to_public_addresses_only() {
        let cases = [
            ("8.8.8.8", true),
            ("2606:4700::1111", true),
            ("0.0.0.0", false),
            ("127.0.0.1", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("192.0.0.1", false),
            ("198.18.0.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("fe80::1", false),
            ("fd00:ec2::254", false),
            ("ff02::1", false),
            ("2002:7f00:1::", false),
            ("64:ff9b::7f00:1", false),
        ];
        for (address, allowed) in cases {
            let found = pinned(&grant("name"), |_| Ok(vec![address.parse().unwrap()]));
            assert_eq!(found.is_ok(), allowed, "{address}: {found:?}");
        }
        let mixed = pinned(&grant("name"), |_| Ok(["10.0.0.1", "1.1.1.1"].map(|text| text.parse().unwrap()).to_vec()));
        assert_eq!(mixed.unwrap().addresses, ["1.1.1.1"]);
    }

    #[test]
    fn an_address_is_what_it_says_and_nothing_else() {
        let pins = Pins::default();
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(!pins.allows(to("127.0.0.1:443")), "before anything is known");
        pins.set(vec![pinned(&grant("127.0.0.1"), |_| unreachable!("no name")).unwrap()]);
        assert!(pins.allows(to("127.0.0.1:443")) && pins.allows(to("[::ffff:127.0.0.1]:443")));
        assert!(!pins.allows(to("127.0.0.1:80")) && !pins.allows(to("127.0.0.2:443")));
        assert_eq!((pins.address("127.0.0.1").as_deref(), pins.address("other")), (Some("127.0.0.1"), None));
    }
}
