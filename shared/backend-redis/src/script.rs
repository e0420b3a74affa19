//! The operations as scripts, each with the prelude before it.

use std::sync::LazyLock;

use redis::Script;

/// Lists scripts by their names, so that a name is written once.
macro_rules! scripts {
    ($($name:ident = $file:literal),* $(,)?) => {
        $(pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                include_str!("scripts/prelude.lua"),
                include_str!(concat!("scripts/", $file, ".lua"))
            ))
        });)*
    };
}

/// What the user may not do; stands alone.
pub(crate) static RIGHTS: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/rights.lua")));

scripts![
    BEAT = "beat",
    BURY = "bury",
    CANCEL = "cancel",
    CLAIM = "claim",
    COUNT = "count",
    CREATE = "create",
    FINISH = "finish",
    GET = "get",
    HAND_OVER = "hand_over",
    LEAD = "lead",
    LINES = "lines",
    LIST = "list",
    LOG = "log",
    LOG_STEP = "log_step",
    PRUNE = "prune",
    PUBLISHED = "published",
    REAP = "reap",
    REASSERT = "reassert",
    RECORDED = "recorded",
    REFENCE = "refence",
    RESIGN = "resign",
    RETRY = "retry",
    SETTLED = "settled",
    SWEEP = "sweep",
    WAITING = "waiting",
    WAIT_OF = "wait_of",
];
