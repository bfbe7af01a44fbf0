//! Addresses and ranges, read as leniently as the API server stores them.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// Parses an address. IPv4 octets may have leading zeros, as in objects that older API servers admitted (`172.30.0.041` is
/// `172.30.0.41`, never octal), and an IPv4-mapped IPv6 address is the IPv4 address, as Go reads both.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse::<IpAddr>().ok().map(|addr| addr.to_canonical());
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let digits = parts.next()?;
        // Rust's integer parser takes a leading '+'; addresses do not have one.
        if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        *octet = digits.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::V4(Ipv4Addr::from(octets)))
}

/// Parses a range and clears its host bits.
pub fn parse_network(text: &str) -> Option<IpNet> {
    let (addr, prefix) = text.split_once('/')?;
    if !prefix.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    IpNet::new(parse_ip(addr)?, prefix.parse().ok()?).ok().map(|network| network.trunc())
}

/// Whether an endpoint may have this address. The API server also refuses the others, since they reach the node itself or no
/// host (`ValidateEndpointIP`: unspecified, loopback, link-local, multicast).
pub fn is_endpoint(addr: IpAddr) -> bool {
    is_virtual(addr)
        && match addr {
            IpAddr::V4(addr) => !addr.is_link_local(),
            IpAddr::V6(addr) => !addr.is_unicast_link_local(),
        }
}

/// Whether a Service may have this virtual address without capturing the node's own traffic.
pub fn is_virtual(addr: IpAddr) -> bool {
    let broadcast = matches!(addr, IpAddr::V4(addr) if addr.is_broadcast());
    !(addr.is_unspecified() || addr.is_loopback() || addr.is_multicast() || broadcast)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_tolerates_leading_zeros_and_nothing_else() {
        for (text, canonical) in [
            ("10.0.0.1", Some("10.0.0.1")),
            ("172.30.0.041", Some("172.30.0.41")),
            ("010.000.000.0009", Some("10.0.0.9")),
            ("::ffff:10.0.0.1", Some("10.0.0.1")),
            ("FD00::0:1", Some("fd00::1")),
            ("10.0.0.256", None),
            ("10.0.0", None),
            ("10.0.0.1.2", None),
            ("10.0.0.+1", None),
            ("10..0.1", None),
            (" 10.0.0.1", None),
            ("0x0a.0.0.1", None),
            ("fe80::1%eth0", None),
            ("banana", None),
            ("", None),
        ] {
            assert_eq!(parse_ip(text).map(|addr| addr.to_string()).as_deref(), canonical, "{text}");
        }
    }

    #[test]
    fn a_network_loses_its_host_bits() {
        assert_eq!(parse_network("10.96.0.010/12").unwrap().to_string(), "10.96.0.0/12");
        assert_eq!(parse_network("fd00::1/108").unwrap().to_string(), "fd00::/108");
        for text in ["10.0.0.0", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "/8", "fd00::/129"] {
            assert_eq!(parse_network(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_that_reach_the_node_itself_or_no_host_are_no_endpoints() {
        for text in
            ["0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "ff02::1"]
        {
            assert!(!is_endpoint(parse_ip(text).unwrap()), "{text}");
        }
        assert!(is_endpoint(parse_ip("10.1.2.3").unwrap()));
        assert!(is_endpoint(parse_ip("2001:db8::1").unwrap()));
    }
}
