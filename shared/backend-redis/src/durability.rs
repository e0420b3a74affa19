//! What a server must be set to so that it keeps what it has answered, and whether it is.

use std::sync::Arc;

use drs_backend::BackendError;
use redis::FromRedisValue;

use crate::link::Link;

/// A setting, the value it must have, and what another value costs.
const WANTED: [(&str, &str, &str); 3] = [
    (
        "appendonly",
        "yes",
        "a restart of Redis loses the jobs since its last snapshot, or all of them",
    ),
    (
        "appendfsync",
        "always",
        "a power cut takes back what was answered already, up to some seconds",
    ),
    (
        "maxmemory-policy",
        "noeviction",
        "when memory is short Redis throws away jobs and what they hold",
    ),
];

/// One line for each setting that is not as it must be, or cannot be asked for.
pub(crate) async fn warnings(link: &Arc<Link>) -> Vec<String> {
    let mut warnings = Vec::new();
    for (setting, wanted, cost) in WANTED {
        match current(link, setting).await {
            Ok(Some(value)) if value == wanted => {}
            Ok(Some(value)) => warnings
                .push(format!("{} has {setting} {value}, not {wanted}: {cost}", link.what())),
            Ok(None) | Err(_) => warnings.push(format!(
                "{} does not let its setting {setting} be read (CONFIG GET): make sure that it is \
                 {wanted}, else {cost}",
                link.what()
            )),
        }
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    warnings
}

async fn current(link: &Arc<Link>, setting: &str) -> Result<Option<String>, BackendError> {
    let answer = link.command(&["CONFIG", "GET", setting]).await?;
    let pairs = Vec::<(String, String)>::from_redis_value(answer).unwrap_or_default();
    Ok(pairs.into_iter().find(|(name, _)| name == setting).map(|(_, value)| value))
}
