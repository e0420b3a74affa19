//! How fast jobs may move data: limits of a job, of its hosts and of their sites.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};

use drs_model::{Host, HostName, Site, SiteName};
use drs_transport::{RateLimit, Rates};

/// What a shared limit holds for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Scope {
    Host(HostName),
    Site(SiteName),
}

/// The limits that the jobs of this worker share. A limit that is changed in the catalogue holds for
/// every job that begins or goes on after that; what runs keeps the one it began with.
#[derive(Debug, Default)]
pub(crate) struct LimitBook(Mutex<HashMap<Scope, Arc<RateLimit>>>);

impl LimitBook {
    /// The limits of a host and of its site.
    pub(crate) fn of_host(&self, host: &Host, site: &Site) -> Vec<Arc<RateLimit>> {
        let of_host = self.limit(Scope::Host(host.name.clone()), host.bytes_per_second);
        let of_site = self.limit(Scope::Site(site.name.clone()), site.bytes_per_second);
        of_host.into_iter().chain(of_site).collect()
    }

    fn limit(&self, scope: Scope, value: Option<NonZeroU64>) -> Option<Arc<RateLimit>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(value) = value else {
            known.remove(&scope);
            return None;
        };
        let limit = known.entry(scope).or_insert_with(|| Arc::new(RateLimit::new(value)));
        if limit.bytes_per_second() != value {
            *limit = Arc::new(RateLimit::new(value));
        }
        Some(Arc::clone(limit))
    }
}

/// The limits of one job. Bytes count on every leg of their way: what a replication reads counts for the
/// source's host, what it writes for the target's, and for a site that has both twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits {
    pub(crate) job: Option<Arc<RateLimit>>,
    pub(crate) source: Vec<Arc<RateLimit>>,
    pub(crate) target: Vec<Arc<RateLimit>>,
}

impl Limits {
    /// For what comes from the source.
    pub(crate) fn reading(&self) -> Rates {
        chain(self.job.iter().chain(&self.source))
    }

    /// For what goes from the vault to the target.
    pub(crate) fn writing(&self) -> Rates {
        chain(self.job.iter().chain(&self.target))
    }

    /// For what goes on to the target and has counted as [`Limits::reading`] already.
    pub(crate) fn onward(&self) -> Rates {
        chain(self.target.iter())
    }

    /// The job's own limit, for a command that limits itself.
    pub(crate) fn of_job(&self) -> Option<u64> {
        self.job.as_ref().map(|limit| limit.bytes_per_second().get())
    }
}

fn chain<'a>(limits: impl Iterator<Item = &'a Arc<RateLimit>>) -> Rates {
    limits.fold(Rates::default(), |rates, limit| rates.and(Arc::clone(limit)))
}

#[cfg(test)]
mod tests {
    use drs_model::HypervisorKind;

    use super::*;

    fn host(name: &str, limit: u64) -> Host {
        Host {
            name: name.parse().expect("a name"),
            site: "dc".parse().expect("a name"),
            kind: HypervisorKind::Simulated,
            address: String::new(),
            key_file: None,
            host_keys: Vec::new(),
            image_dir: None,
            dump_dir: None,
            slots: 1,
            bytes_per_second: NonZeroU64::new(limit),
        }
    }

    fn site(limit: u64) -> Site {
        let site = Site::named("dc".parse().expect("a name"));
        Site { bytes_per_second: NonZeroU64::new(limit), ..site }
    }

    #[test]
    fn jobs_share_the_limits_of_a_host_and_of_a_site() {
        let book = LimitBook::default();
        let (one, other) =
            (book.of_host(&host("a", 5), &site(7)), book.of_host(&host("a", 5), &site(7)));
        assert_eq!(one.len(), 2);
        assert!(one.iter().zip(&other).all(|(a, b)| Arc::ptr_eq(a, b)));
        let neighbour = book.of_host(&host("b", 5), &site(7));
        assert!(!Arc::ptr_eq(&one[0], &neighbour[0]), "a host's limit is its own");
        assert!(Arc::ptr_eq(&one[1], &neighbour[1]), "a site's limit is shared by its hosts");
    }

    #[test]
    fn a_limit_follows_the_catalogue() {
        let book = LimitBook::default();
        let values = |host: &Host, site: &Site| -> Vec<u64> {
            book.of_host(host, site).iter().map(|limit| limit.bytes_per_second().get()).collect()
        };
        assert_eq!(values(&host("a", 5), &site(7)), [5, 7]);
        assert_eq!(values(&host("a", 6), &site(0)), [6]);
        assert_eq!(values(&host("a", 0), &site(0)), [0_u64; 0]);
        assert_eq!(values(&host("a", 5), &site(7)), [5, 7]);
    }
}
