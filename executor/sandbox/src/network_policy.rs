//! Where a node's operator lets guests connect, whatever their jobs name.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The word for all public addresses.
const PUBLIC: &str = "public";
/// Most prefixes in one policy.
const PREFIXES_MAX: usize = 256;

/// Where guests may connect, whatever their jobs name. Default: nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkPolicy {
    public: bool,
    prefixes: Vec<IpNet>,
}

impl NetworkPolicy {
    /// Reads a policy: `public`, addresses, and prefixes such as `10.0.0.0/8`.
    ///
    /// # Errors
    /// The first entry that is none of these, for people.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Self, String> {
        let mut policy = Self::default();
        if entries.len() > PREFIXES_MAX {
            return Err(format!("there are more than {PREFIXES_MAX} entries"));
        }
        for entry in entries.iter().map(AsRef::as_ref) {
            if entry == PUBLIC {
                policy.public = true;
                continue;
            }
            let prefix = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            let prefix = prefix.map_err(|_| {
                format!("{entry:?} is neither `{PUBLIC}` nor an address nor a prefix such as 10.0.0.0/8")
            })?;
            policy.prefixes.push(prefix.trunc());
        }
        Ok(policy)
    }

    /// The policy of a machine whose user runs guests of his own: anywhere.
    #[must_use]
    pub fn anywhere() -> Self {
        let all = [IpNet::from(IpAddr::from(Ipv4Addr::UNSPECIFIED)), IpNet::from(IpAddr::from(Ipv6Addr::UNSPECIFIED))];
        // No prefix is longer than an address, and one of length 0 is valid.
        let prefixes = all.map(|address| IpNet::new_assert(address.addr(), 0)).to_vec();
        Self { public: true, prefixes }
    }

    /// Whether guests may connect nowhere at all.
    #[must_use]
    pub const fn is_nowhere(&self) -> bool {
        !self.public && self.prefixes.is_empty()
    }

    /// Whether guests may connect there, if their jobs name it.
    pub(crate) fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let never = address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST);
        !never && (self.prefixes.iter().any(|prefix| prefix.contains(&address)) || (self.public && is_public(address)))
    }
}

/// Whether an address is on the public network: not of this machine, its link with a cloud's metadata, private networks,
/// carriers, documentation or benchmarks.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(policy: &[&str], address: &str) -> bool {
        NetworkPolicy::parse(policy).unwrap().allows(address.parse().unwrap())
    }

    #[test]
    fn public_means_public() {
        let inside = ["8.8.8.8", "2606:4700::1111"];
        let outside = [
            "0.0.0.0",
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00:ec2::254",
            "ff02::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
        ];
        assert!(inside.iter().all(|address| allowed(&["public"], address)));
        let through = outside.iter().find(|address| allowed(&["public"], address));
        assert_eq!(through, None);
    }

    #[test]
    fn prefixes_allow_what_is_in_them_and_nothing_else() {
        let policy = ["10.1.0.0/16", "127.0.0.1", "fd00::/8"];
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("127.0.0.1", true),
            ("127.0.0.2", false),
            ("fd12::1", true),
            ("8.8.8.8", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(allowed(&policy, address), expected, "{address}");
        }
        assert!(!allowed(&[], "8.8.8.8") && NetworkPolicy::default().is_nowhere());
        assert!(!NetworkPolicy::anywhere().allows("0.0.0.0".parse().unwrap()));
        assert!(NetworkPolicy::anywhere().allows("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for bad in ["", "yes", "10.0.0.0/33", "example.com", "1.2.3"] {
            let error = NetworkPolicy::parse(&["public", bad]).unwrap_err();
            assert!(error.contains(&format!("{bad:?} is neither")), "{error}");
        }
    }
}
