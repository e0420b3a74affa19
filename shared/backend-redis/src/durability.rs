//! What a server must be set to so that it keeps what it has answered, and whether it is.

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, cmd};

use crate::failure::ends_connection;

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

/// One line for each setting that is not as it must be, or is not told; `what` names the server.
///
/// # Errors
/// The connection ended before all was answered.
pub(crate) async fn warnings(
    server: &mut MultiplexedConnection,
    what: &str,
) -> RedisResult<Vec<String>> {
    let mut warnings = Vec::new();
    for (setting, wanted, cost) in WANTED {
        match current(server, setting).await {
            Ok(Some(value)) if value == wanted => {}
            Ok(Some(value)) => {
                warnings.push(format!("{what} has {setting} {value}, not {wanted}: {cost}"));
            }
            Err(error) if ends_connection(&error) => return Err(error),
            Ok(None) | Err(_) => warnings.push(format!(
                "{what} does not let its setting {setting} be read (CONFIG GET): make sure that it \
                 is {wanted}, else {cost}"
            )),
        }
    }
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(warnings)
}

async fn current(server: &mut MultiplexedConnection, setting: &str) -> RedisResult<Option<String>> {
    let mut question = cmd("CONFIG");
    let answer: Vec<(String, String)> =
        question.arg("GET").arg(setting).query_async(server).await?;
    Ok(answer.into_iter().find(|(name, _)| name == setting).map(|(_, value)| value))
}
