//! A container as the lab has it: a tree under /var/lib/vz/private, on or off by a file in /run.

use std::fs;

use crate::failure::Done;
use crate::node::Node;

fn mark(id: u32) -> String {
    format!("/run/lxc/{id}.running")
}

/// The container is switched on.
pub(crate) fn is_on(node: &Node, id: u32) -> bool {
    node.file(mark(id)).exists()
}

pub(crate) fn set_on(node: &Node, id: u32, on: bool) -> Done {
    set_frozen(node, id, false)?;
    if on {
        return Ok(fs::write(node.new_file(mark(id))?, "")?);
    }
    fs::remove_file(node.file(mark(id))).ok();
    Ok(())
}

/// `running` or `stopped`.
pub(crate) fn status(node: &Node, id: u32) -> &'static str {
    if is_on(node, id) { "running" } else { "stopped" }
}

/// A container that is frozen is still `running`; a file beside its mark tells.
pub(crate) fn set_frozen(node: &Node, id: u32, frozen: bool) -> Done {
    let mark = format!("/run/lxc/{id}.frozen");
    if frozen {
        return Ok(fs::write(node.new_file(mark)?, "")?);
    }
    fs::remove_file(node.file(mark)).ok();
    Ok(())
}
