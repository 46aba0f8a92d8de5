//! Network access of guests: outgoing TCP to what the job names, and nothing else.
//!
//! Names are resolved once for an attempt, by the daemon. What they mean from then on is pinned: a guest that asks for a
//! name it was granted gets the pinned addresses, and a connection goes to a pinned address and its port or is denied.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::{Arc, OnceLock},
};

use wasmtime_wasi::{WasiCtxBuilder, sockets::SocketAddrUse};
use weir_wire::{work::NetGrant, worker::Pinned};

use crate::{network_policy::NetworkPolicy, verdict::Unresolved};

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

    /// The pinned addresses of a name, the same for all ports that were granted with it.
    pub(crate) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        let found = self.all().find(|pin| is_same(&pin.host, name.trim_end_matches('.')));
        found.into_iter().flat_map(|pin| &pin.addresses).filter_map(|text| text.parse().ok()).collect()
    }
}

/// Resolves what a job names; it may wait for a name server.
///
/// # Errors
/// What has no address, or none that the policy allows.
pub(crate) fn resolve(grants: &[NetGrant], policy: &NetworkPolicy) -> Result<Vec<Pinned>, Unresolved> {
    let look_up = |host: &str| Ok((host, 0).to_socket_addrs()?.map(|found| found.ip()).collect());
    all_pinned(grants, policy, look_up)
}

/// A name is looked up once: a guest does not say for which port it asks, and name servers give another answer each time.
fn all_pinned(
    grants: &[NetGrant],
    policy: &NetworkPolicy,
    look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>>,
) -> Result<Vec<Pinned>, Unresolved> {
    let mut pins: Vec<Pinned> = Vec::new();
    for grant in grants {
        let known = pins.iter().find(|pin| is_same(&pin.host, &grant.host));
        let pin = match known {
            Some(known) => Pinned { port: grant.port, ..known.clone() },
            None => pinned(grant, policy, &look_up)?,
        };
        pins.push(pin);
    }
    Ok(pins)
}

fn is_same(name: &str, other: &str) -> bool {
    name.eq_ignore_ascii_case(other)
}

fn pinned(
    grant: &NetGrant,
    policy: &NetworkPolicy,
    look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>>,
) -> Result<Pinned, Unresolved> {
    let host = grant.host.as_str();
    let found = host.parse::<IpAddr>().map_or_else(|_| look_up(host), |literal| Ok(vec![literal]));
    // Only a name server that does not answer may do so later; a name that there is not is the job's mistake.
    let found = found.map_err(|error| Unresolved {
        why: format!("cannot resolve {host:?}: {error}"),
        denied: !error.to_string().contains("Temporary failure"),
    })?;
    let allowed = found.iter().map(IpAddr::to_canonical).filter(|address| policy.allows(*address));
    let addresses: Vec<String> = allowed.take(ADDRESSES_MAX).map(|address| address.to_string()).collect();
    if addresses.is_empty() {
        let why =
            format!("this node lets no guest connect to {host:?}: its operator lists what it allows in `network`");
        return Err(Unresolved { why, denied: true });
    }
    Ok(Pinned { host: host.to_owned(), port: grant.port, addresses })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(host: &str) -> NetGrant {
        NetGrant { host: host.to_owned(), port: 443 }
    }

    #[test]
    fn names_and_addresses_lead_only_where_the_policy_allows() {
        let policy = NetworkPolicy::parse(&["public", "10.0.0.0/8"]).unwrap();
        let pins = |name: &str, found: &[&str]| {
            let found = found.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
            pinned(&grant(name), &policy, |_| Ok(found.clone())).map(|pin| pin.addresses).map_err(|error| error.denied)
        };
        assert_eq!(pins("db.internal", &["10.0.0.1"]), Ok(vec!["10.0.0.1".to_owned()]));
        assert_eq!(pins("name", &["127.0.0.1", "::ffff:1.1.1.1"]), Ok(vec!["1.1.1.1".to_owned()]));
        assert_eq!(pins("name", &["127.0.0.1", "169.254.169.254"]), Err(true));
        assert_eq!(pins("169.254.169.254", &[]), Err(true));
        assert_eq!(pins("1.1.1.1", &[]), Ok(vec!["1.1.1.1".to_owned()]));
        for (answer, denied) in [("Temporary failure in name resolution", false), ("Name or service not known", true)] {
            let failed = pinned(&grant("name"), &policy, |_| Err(io::Error::other(answer))).unwrap_err();
            assert!(failed.denied == denied && failed.why.contains("cannot resolve \"name\""), "{failed:?}");
        }
    }

    #[test]
    fn an_address_is_what_it_says_and_nothing_else() {
        let pins = Pins::default();
        let to = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(!pins.allows(to("127.0.0.1:443")), "before anything is known");
        let anywhere = NetworkPolicy::anywhere();
        pins.set(vec![pinned(&grant("127.0.0.1"), &anywhere, |_| unreachable!("no name")).unwrap()]);
        assert!(pins.allows(to("127.0.0.1:443")) && pins.allows(to("[::ffff:127.0.0.1]:443")));
        assert!(!pins.allows(to("127.0.0.1:80")) && !pins.allows(to("127.0.0.2:443")));
        assert_eq!(pins.addresses("127.0.0.1"), [IpAddr::from([127, 0, 0, 1])]);
        assert!(pins.addresses("other").is_empty());
    }

    #[test]
    fn all_ports_of_a_name_have_the_same_addresses() {
        let asked = std::cell::Cell::new(0);
        let look_up = |_: &str| {
            asked.set(asked.get() + 1);
            Ok(vec![IpAddr::from([192, 0, 2, asked.get()]), IpAddr::from([192, 0, 2, 100])])
        };
        let grants = ["db.example", "DB.example", "other.example"].map(grant);
        let pins = all_pinned(&grants, &NetworkPolicy::anywhere(), look_up).unwrap();
        assert_eq!(asked.get(), 2);
        assert_eq!(pins[0].addresses, ["192.0.2.1", "192.0.2.100"]);
        assert_eq!(pins[1].addresses, pins[0].addresses);
        assert_eq!(pins[2].addresses, ["192.0.2.2", "192.0.2.100"]);
    }
}
