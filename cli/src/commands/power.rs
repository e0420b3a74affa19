//! `drs power`

use drs_model::{JobSpec, PowerAction};

use crate::args::jobs::PowerCommand;
use crate::exit::Exit;
use crate::failure::Outcome;
use crate::output::Output;
use crate::place::Place;
use crate::submission::{self, Request};

pub(super) async fn run(place: &Place, output: Output, command: PowerCommand) -> Outcome<Exit> {
    let (args, action) = match command {
        PowerCommand::Start(args) => (args, PowerAction::Start),
        PowerCommand::Shutdown(args) => (args, PowerAction::Shutdown),
        PowerCommand::Stop(args) => (args, PowerAction::Stop),
    };
    let vm = args.vm;
    let preflight = async {
        place.driver(&vm.host).await?.describe(&vm.name).await?;
        Ok(())
    };
    let spec = JobSpec::Power { vm: vm.clone(), action };
    let request = Request::new(args.submission.job_id(), spec);
    submission::run(place, output, &args.submission, request, preflight).await
}
