//! Which addresses belong to the public internet.
//!
//! The sources are IANA's registries of special-purpose addresses, as of October 2025
//! ([IPv4](https://www.iana.org/assignments/iana-ipv4-special-registry),
//! [IPv6](https://www.iana.org/assignments/iana-ipv6-special-registry)), read strictly: a block that is reachable
//! only in part is refused as a whole, and so is every IPv6 address outside of the one block that public
//! addresses are given out of. An IPv6 address that stands for an IPv4 address is judged as that address.
//!
//! The standard library's `is_global` is unstable, and no crate that copies it is kept up; hence a table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is set aside for, as a noun; nothing, if it may be called.
pub(super) fn purpose(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => purpose_v4(address),
        IpAddr::V6(address) => purpose_v6(address),
    }
}

/// Blocks of IPv4 addresses: the first address, the length of the prefix, what it is.
const BLOCKS_V4: [(Ipv4Addr, u32, &str); 16] = [
    (Ipv4Addr::UNSPECIFIED, 8, "an address of this network"),
    (Ipv4Addr::new(10, 0, 0, 0), 8, "a private address"),
    (Ipv4Addr::new(100, 64, 0, 0), 10, "a carrier's shared address"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "a loopback address"),
    // The metadata services of AWS, Azure and Google Cloud among them, and what Lambda itself uses.
    (Ipv4Addr::new(169, 254, 0, 0), 16, "a link-local address"),
    (Ipv4Addr::new(172, 16, 0, 0), 12, "a private address"),
    (Ipv4Addr::new(192, 0, 0, 0), 24, "an address of the IETF's protocols"),
    (Ipv4Addr::new(192, 0, 2, 0), 24, "a documentation address"),
    // Withdrawn by RFC 7526.
    (Ipv4Addr::new(192, 88, 99, 0), 24, "a 6to4 relay"),
    (Ipv4Addr::new(192, 168, 0, 0), 16, "a private address"),
    (Ipv4Addr::new(198, 18, 0, 0), 15, "a benchmarking address"),
    (Ipv4Addr::new(198, 51, 100, 0), 24, "a documentation address"),
    (Ipv4Addr::new(203, 0, 113, 0), 24, "a documentation address"),
    (Ipv4Addr::new(224, 0, 0, 0), 4, "a multicast address"),
    (Ipv4Addr::BROADCAST, 32, "the broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, "a reserved address"),
];

/// Blocks of IPv6 addresses. Those outside of [`GLOBAL_UNICAST`] stand here for their names.
const BLOCKS_V6: [(Ipv6Addr, u32, &str); 11] = [
    (Ipv6Addr::UNSPECIFIED, 128, "the unspecified address"),
    (Ipv6Addr::LOCALHOST, 128, "a loopback address"),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "an address of local translation"),
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "a discard address"),
    // Teredo (2001::/32) and benchmarking (2001:2::/48) among them.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "an address of the IETF's protocols"),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "a documentation address"),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "a documentation address"),
    // The metadata and name services of AWS (fd00:ec2::/32) among them.
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "a private address"),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "a link-local address"),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "a site-local address"),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "a multicast address"),
];

/// All that public IPv6 addresses are given out of
/// ([registry](https://www.iana.org/assignments/ipv6-address-space)).
const GLOBAL_UNICAST: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// IPv4 addresses written as IPv6 addresses (RFC 4291, section 2.5.5.2).
const MAPPED: (Ipv6Addr, u32) = (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// IPv4 addresses behind a translator (NAT64, RFC 6052).
const TRANSLATED: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Networks behind an IPv4 address (6to4, RFC 3056).
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

fn purpose_v4(address: Ipv4Addr) -> Option<&'static str> {
    let is_within = |block: Ipv4Addr, length| (address.to_bits() ^ block.to_bits()).leading_zeros() >= length;
    BLOCKS_V4.iter().find(|(block, length, _)| is_within(*block, *length)).map(|(_, _, purpose)| *purpose)
}

fn purpose_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(embedded) = embedded(address) {
        return purpose_v4(embedded);
    }
    let block = BLOCKS_V6.iter().find(|(block, length, _)| is_within(address, (*block, *length)));
    let named = block.map(|(_, _, purpose)| *purpose);
    named.or_else(|| (!is_within(address, GLOBAL_UNICAST)).then_some("an address that nobody was given"))
}

/// The IPv4 address that is really called.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    if is_within(address, MAPPED) || is_within(address, TRANSLATED) {
        return Some(Ipv4Addr::new(a, b, c, d));
    }
    let [_, _, a, b, c, d, ..] = address.octets();
    is_within(address, SIX_TO_FOUR).then(|| Ipv4Addr::new(a, b, c, d))
}

fn is_within(address: Ipv6Addr, (block, length): (Ipv6Addr, u32)) -> bool {
    (address.to_bits() ^ block.to_bits()).leading_zeros() >= length
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn purpose_of(text: &str) -> Option<&'static str> {
        purpose(text.parse().unwrap())
    }

    /// Each block's first and last address, which may not be called.
    #[test]
    fn every_special_block_is_refused_to_its_edges() {
        for (first, last, expected) in [
            ("0.0.0.0", "0.255.255.255", "an address of this network"),
            ("10.0.0.0", "10.255.255.255", "a private address"),
            ("100.64.0.0", "100.127.255.255", "a carrier's shared address"),
            ("127.0.0.0", "127.255.255.255", "a loopback address"),
            ("169.254.0.0", "169.254.255.255", "a link-local address"),
            ("172.16.0.0", "172.31.255.255", "a private address"),
            ("192.0.0.0", "192.0.0.255", "an address of the IETF's protocols"),
            ("192.0.2.0", "192.0.2.255", "a documentation address"),
            ("192.88.99.0", "192.88.99.255", "a 6to4 relay"),
            ("192.168.0.0", "192.168.255.255", "a private address"),
            ("198.18.0.0", "198.19.255.255", "a benchmarking address"),
            ("198.51.100.0", "198.51.100.255", "a documentation address"),
            ("203.0.113.0", "203.0.113.255", "a documentation address"),
            ("224.0.0.0", "239.255.255.255", "a multicast address"),
            ("240.0.0.0", "255.255.255.254", "a reserved address"),
            ("255.255.255.255", "255.255.255.255", "the broadcast address"),
            ("::", "::", "the unspecified address"),
            ("::1", "::1", "a loopback address"),
            // IPv4-compatible, which nobody uses any more.
            ("::2", "::255.255.255.255", "an address that nobody was given"),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "an address of local translation"),
            ("100::", "100::ffff:ffff:ffff:ffff", "a discard address"),
            ("100:0:0:1::", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "an address that nobody was given"),
            ("2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "an address of the IETF's protocols"),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "a documentation address"),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "a documentation address"),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "an address that nobody was given"),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a private address"),
            ("fe00::", "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "an address that nobody was given"),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a link-local address"),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a site-local address"),
            ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "a multicast address"),
        ] {
            assert_eq!(purpose_of(first), Some(expected), "{first}");
            assert_eq!(purpose_of(last), Some(expected), "{last}");
        }
    }

    #[test]
    fn what_lies_beside_a_special_block_may_be_called() {
        for public in [
            "1.0.0.0",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "2000::",
            "2001:200::",
            "2001:db7:ffff::",
            "2001:db9::",
            "2606:4700:4700::1111",
            "2a05:d018::1",
            "3ffe:ffff::",
            "3fff:1000::",
        ] {
            assert_eq!(purpose_of(public), None, "{public}");
        }
    }

    #[test]
    fn metadata_services_are_refused_however_they_are_written() {
        for metadata in [
            "169.254.169.254",
            "169.254.170.2",
            "169.254.169.253",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "::ffff:169.254.169.254",
            "::169.254.169.254",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::169.254.169.254",
            "2002:a9fe:a9fe::1",
            "100.100.100.200",
        ] {
            assert!(purpose_of(metadata).is_some(), "{metadata}");
        }
    }

    proptest! {
        #[test]
        fn an_embedded_address_is_judged_as_itself(bits in any::<u32>(), rest in any::<u128>()) {
            let plain = Ipv4Addr::from_bits(bits);
            let expected = purpose(plain.into());
            let translated = Ipv6Addr::from_bits(TRANSLATED.0.to_bits() | u128::from(bits));
            let six_to_four = Ipv6Addr::from_bits(SIX_TO_FOUR.0.to_bits() | u128::from(bits) << 80 | rest >> 48);
            prop_assert_eq!(purpose(plain.to_ipv6_mapped().into()), expected);
            prop_assert_eq!(purpose(translated.into()), expected);
            prop_assert_eq!(purpose(six_to_four.into()), expected);
        }

        /// What the standard library knows to be special is refused.
        #[test]
        fn the_table_is_no_laxer_than_the_standard_library(four in any::<u32>(), six in any::<u128>()) {
            let four = Ipv4Addr::from_bits(four);
            if four.is_private() || four.is_loopback() || four.is_link_local() || four.is_unspecified()
                || four.is_documentation() || four.is_multicast() || four.is_broadcast()
            {
                prop_assert!(purpose(four.into()).is_some());
            }
            let six = Ipv6Addr::from_bits(six);
            if six.is_multicast() || six.is_unique_local() || six.is_unicast_link_local() {
                prop_assert!(purpose(six.into()).is_some());
            }
        }
    }
}
