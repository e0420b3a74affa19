//! What `drs rsh` does, as a program of its own: `rsh rsh --socket PATH HOST COMMAND...`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first_chunk() {
        Some(([rsh, option, socket], argv)) if rsh == "rsh" && option == "--socket" => {
            drs_transport::relay::rsh(Path::new(socket), argv).into()
        }
        _ => {
            eprintln!("usage: rsh rsh --socket PATH HOST COMMAND...");
            ExitCode::from(2)
        }
    }
}
