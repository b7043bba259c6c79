//! Resolves names to addresses that may be called.

use std::net::{IpAddr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::net::lookup_host;

use super::Reach;
use super::address::purpose;

/// The system's resolver, and a judgement of what it says.
#[derive(Debug)]
pub(super) struct Resolver {
    reach: Reach,
}

/// A name that leads to an address which may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name leads to {address}, {purpose}")]
pub(super) struct Forbidden {
    pub(super) address: IpAddr,
    pub(super) purpose: &'static str,
}

impl Resolver {
    pub(super) fn new(reach: Reach) -> Self {
        Self { reach }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            // The client replaces port 0 by the URL's.
            let found = lookup_host((name.as_str(), 0)).await?.collect();
            let addresses: Addrs = Box::new(judged(found, reach)?.into_iter());
            Ok(addresses)
        })
    }
}

/// All of a name's addresses, if every one of them may be called.
///
/// One that may not condemns the others: no honest name leads to the public internet and into a private network at
/// once, and which of the two is called would be left to chance.
fn judged(found: Vec<SocketAddr>, reach: Reach) -> Result<Vec<SocketAddr>, Forbidden> {
    match reach {
        Reach::Everything => Ok(found),
        Reach::Public => match found.iter().find_map(|address| forbidden(address.ip())) {
            Some(forbidden) => Err(forbidden),
            None => Ok(found),
        },
    }
}

fn forbidden(address: IpAddr) -> Option<Forbidden> {
    purpose(address).map(|purpose| Forbidden { address, purpose })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 0)).collect()
    }

    #[test]
    fn one_forbidden_address_condemns_a_name() {
        for found in [
            &["10.0.0.1"][..],
            &["93.184.215.14", "10.0.0.1"],
            &["10.0.0.1", "93.184.215.14"],
            &["2606:4700:4700::1111", "::ffff:10.0.0.1"],
        ] {
            let found = addresses(found);
            let verdict = judged(found.clone(), Reach::Public).unwrap_err();
            assert_eq!(verdict.purpose, "a private address");
            assert_eq!(judged(found.clone(), Reach::Everything), Ok(found));
        }
    }

    #[test]
    fn public_addresses_pass_as_they_are() {
        let found = addresses(&["93.184.215.14", "2606:4700:4700::1111"]);
        assert_eq!(judged(found.clone(), Reach::Public), Ok(found));
    }
}
