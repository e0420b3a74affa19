//! The adapter on real servers.

mod conformance;

use drs_backend_redis::{Clock, RedisConfig, RedisStore};
use drs_lab_servers::Redis;

/// A store of its own on a server, by the caller's clock.
async fn fresh(redis: &Redis) -> RedisStore {
    store(redis, Clock::Caller).await
}

async fn store(redis: &Redis, clock: Clock) -> RedisStore {
    let config = RedisConfig { prefix: redis.fresh_prefix(), ..RedisConfig::new(redis.url()) };
    RedisStore::connect(&config, clock).await.expect("a connection")
}
