//! The small world as a model: what can happen next, and what must hold in every state.

use std::sync::Arc;

use drs_model::{Job, JobId, JobSpec, Need, Phase, Timestamp, VmRef};
use drs_protocol::session::{Event, Session};
use drs_protocol::store::SettleAnswer;
use drs_simulation::store::{Call, LedgerStore, Reply, Store};
use drs_simulation::{Guard, Harm, Removed};
use stateright::{Model, Property};

use crate::drives::Made;
use crate::memo::Memo;
use crate::scope::{Scope, Spent, Trouble};
use crate::state::{Activity, Books, Drive, News, Op, Part, Record, Slot, State, Work, Worker};

/// What can happen. Things under way are named by their place in the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Deliver {
        worker: usize,
        job: usize,
    },
    Call {
        call: usize,
    },
    Command {
        command: usize,
    },
    Hear {
        worker: usize,
        news: usize,
    },
    Follow {
        worker: usize,
    },
    UnitEnds {
        unit: usize,
    },
    LinkEnds {
        unit: usize,
    },
    Lapse,
    Sweep,
    Retry {
        job: usize,
    },
    Beat {
        worker: usize,
    },
    /// What a worker sent that waits for no answer never arrives.
    Vanish {
        call: usize,
    },
    VanishCommand {
        command: usize,
    },
    Crash {
        worker: usize,
    },
    Stop {
        worker: usize,
    },
    Pause,
    Wipe,
    Reboot,
    Double {
        job: usize,
    },
    Lose {
        job: usize,
    },
    GiveUp {
        worker: usize,
    },
    AnswerLate {
        command: usize,
    },
    AnswerLost {
        call: usize,
    },
    Fail {
        unit: usize,
    },
    Cancel {
        job: usize,
    },
}

impl Action {
    fn trouble(self) -> Option<Trouble> {
        Some(match self {
            Self::Crash { .. } => Trouble::Crash,
            Self::Stop { .. } => Trouble::Stop,
            Self::Pause => Trouble::Pause,
            Self::Wipe => Trouble::Wipe,
            Self::Reboot => Trouble::Reboot,
            Self::Double { .. } => Trouble::Double,
            Self::Lose { .. } => Trouble::Lose,
            Self::GiveUp { .. } | Self::AnswerLate { .. } => Trouble::Late,
            Self::AnswerLost { .. } => Trouble::Repeat,
            Self::Fail { .. } => Trouble::Fail,
            Self::Cancel { .. } => Trouble::Cancel,
            _ => return None,
        })
    }

    /// Whether something comes closer to its end: nothing goes wrong, nothing is only repeated.
    fn is_progress(self) -> bool {
        let idle =
            matches!(self, Self::Beat { .. } | Self::Vanish { .. } | Self::VanishCommand { .. });
        self.trouble().is_none() && !idle
    }
}

/// Workers, each with one slot.
const WORKERS: usize = 2;
/// Jobs, which all need the one VM.
const JOBS: usize = 2;

pub(crate) fn worker_name(state: &State, worker: usize) -> String {
    format!("w{worker}.{}", state.workers[worker].life)
}

fn seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).expect("a time")
}

/// What sessions do, by session, event, whether the lease is to be renewed, worker and its life.
type Steps = Memo<(u64, u64, bool, usize, u8), (Part<Session>, Arc<Vec<Made>>)>;
/// What the store answers, by store, call and how often it was wiped.
type Answers = Memo<(u64, u64, u8), (Part<Books>, Arc<Reply>)>;

/// The protocol within the bounds of a scope.
pub(crate) struct SmallWorld {
    pub(crate) scope: Scope,
    pub(crate) removed: Removed,
    pub(crate) vm: VmRef,
    pub(crate) jobs: Vec<Job>,
    pub(crate) steps: Steps,
    pub(crate) answers: Answers,
}

impl SmallWorld {
    pub(crate) fn new(scope: Scope, removed: Removed) -> Self {
        let vm: VmRef = "dc/web".parse().expect("a VM");
        let record = |n: usize| {
            let (id, needs) = (JobId::from_key(&format!("job {n}")), vec![Need::vm(vm.clone())]);
            let mut job = Job::new(id, JobSpec::backup(vm.clone()), needs, seconds(0));
            job.published_at = Some(seconds(0));
            job
        };
        let jobs = (0..JOBS).map(record).collect();
        Self { scope, removed, vm, jobs, steps: Memo::default(), answers: Memo::default() }
    }

    pub(crate) fn lacks(&self, guard: Guard) -> bool {
        self.removed.lacks(guard)
    }

    pub(crate) fn number(&self, id: JobId) -> usize {
        self.jobs.iter().position(|job| job.id == id).expect("a job of this world")
    }

    /// The clock of the store stands still but for the time that a loss of data takes.
    pub(crate) fn store_time(&self, state: &State) -> Timestamp {
        seconds(1_000 + 1_000 * i64::from(state.wiped))
    }

    /// When sessions renew their leases.
    pub(crate) fn beat_time(&self) -> Timestamp {
        self.work_time() + crate::drives::BEAT
    }

    /// When sessions do everything else.
    pub(crate) fn work_time(&self) -> Timestamp {
        seconds(1_000)
    }

    pub(crate) fn has_message(&self, state: &State, job: usize) -> bool {
        let has = |worker: &Worker| match &worker.slot {
            Slot::Free => false,
            Slot::Claiming(of) => *of == job,
            Slot::Driving(drive) => drive.job == job && drive.unacked,
        };
        state.ready[job] > 0 || state.workers.iter().any(has)
    }

    /// Whether the store, a message or a session knows of a job.
    fn is_known(&self, state: &State, job: usize) -> bool {
        let settled = |news: &News| {
            let News::Event(event) = news else { return false };
            matches!(event.get(), Event::Settled(SettleAnswer::Settled { .. }))
        };
        let drives = |worker: &Worker| match &worker.slot {
            Slot::Driving(drive) => drive.job == job && !drive.inbox.iter().any(settled),
            _ => false,
        };
        self.has_message(state, job)
            || state.workers.iter().any(drives)
            || state.store.get().jobs.iter().any(|record| record.id == self.jobs[job].id)
    }

    /// Somebody let go of a job that nobody else knows. Disasters may: what the store had confirmed, and
    /// what died with the one worker that could have brought it back.
    fn was_lost(&self, before: &State, action: Action, after: &State) -> bool {
        let disaster = matches!(action, Action::Wipe | Action::Crash { .. });
        !disaster
            && after.record.shaken
            && (0..self.jobs.len()).any(|job| {
                self.is_known(before, job)
                    && !self.is_known(after, job)
                    && !after.record.over.contains(&self.jobs[job].id)
            })
    }

    fn apply(&self, state: &mut State, action: Action) {
        match action {
            Action::Deliver { worker, job } => self.deliver(state, worker, job),
            Action::Call { call } => self.call_arrives(state, call, false),
            Action::AnswerLost { call } => self.call_arrives(state, call, true),
            Action::Command { command } => self.command_arrives(state, command),
            Action::AnswerLate { command } => {
                let asker = state.commands[command].asker.take();
                self.command_arrives(state, command);
                if let Some(worker) = asker {
                    self.give_up(state, worker);
                }
            }
            Action::GiveUp { worker } => self.give_up(state, worker),
            Action::Hear { worker, news } => {
                if let Some(drive) = state.drive_mut(worker) {
                    let news = drive.inbox.remove(news);
                    self.hear(state, worker, news);
                }
            }
            Action::Follow { worker } => self.follow(state, worker),
            Action::UnitEnds { unit } => self.unit_ends(state, unit, 0),
            Action::Fail { unit } => self.unit_ends(state, unit, 1),
            Action::LinkEnds { unit } => self.link_ends(state, unit),
            Action::Lapse | Action::Pause => self.lapse(state),
            Action::Sweep => self.sweep(state),
            Action::Retry { job } => self.retry(state, job),
            Action::Cancel { job } => self.cancel(state, job),
            Action::Beat { worker } => self.beat(state, worker),
            Action::Stop { worker } => self.happened(state, worker, Event::Stop),
            Action::Vanish { call } => drop(state.calls.remove(call)),
            Action::VanishCommand { command } => drop(state.commands.remove(command)),
            Action::Crash { worker } => {
                self.end(state, worker);
                state.workers[worker].life += 1;
            }
            Action::Wipe => self.wipe(state),
            Action::Reboot => self.reboot(state),
            Action::Double { job } => state.ready[job] += 1,
            Action::Lose { job } => state.ready[job] -= 1,
        }
    }

    fn of_the_queue(&self, state: &State, actions: &mut Vec<Action>) {
        // One free worker is as good as another while nobody has heard of either.
        let fresh = state.claims == 0 && state.workers.iter().all(|w| w.slot == Slot::Free);
        let takers = if fresh { 1 } else { state.workers.len() };
        let records = &state.store.get().jobs;
        for job in (0..self.jobs.len()).filter(|job| state.ready[*job] > 0) {
            for worker in 0..takers {
                if state.workers[worker].slot == Slot::Free {
                    actions.push(Action::Deliver { worker, job });
                }
            }
            actions.push(Action::Double { job });
            if records.iter().any(|record| record.id == self.jobs[job].id) {
                actions.push(Action::Lose { job });
            }
        }
        let owed = |job: &Job| {
            let number = self.number(job.id);
            let waits =
                matches!(job.state.phase(), Phase::Queued | Phase::RetryWait | Phase::Parked);
            waits && !self.has_message(state, number)
        };
        if records.iter().any(owed) {
            actions.push(Action::Sweep);
        }
        for job in records {
            let number = self.number(job.id);
            if job.state.phase() == Phase::NeedsOperator {
                actions.push(Action::Retry { job: number });
            }
            if !job.state.is_terminal() && !job.cancel_requested {
                actions.push(Action::Cancel { job: number });
            }
            let Some(lease) = job.state.lease() else { continue };
            let lives = |w: usize| {
                worker_name(state, w) == lease.worker
                    && state.drive(w).is_some_and(|drive| drive.job == number)
            };
            let lives = (0..state.workers.len()).any(lives);
            actions.push(if lives { Action::Pause } else { Action::Lapse });
        }
    }

    fn of_workers(&self, state: &State, actions: &mut Vec<Action>) {
        for (worker, Worker { slot, .. }) in state.workers.iter().enumerate() {
            if *slot != Slot::Free {
                actions.push(Action::Crash { worker });
            }
            let Slot::Driving(drive) = slot else { continue };
            actions.extend((0..drive.inbox.len()).map(|news| Action::Hear { worker, news }));
            if self.beat_would_tell(state, worker, drive) {
                actions.push(Action::Beat { worker });
            }
            actions.push(Action::Stop { worker });
            match drive.activity {
                Some(Activity::Following(_)) => actions.push(Action::Follow { worker }),
                Some(_) => actions.push(Action::GiveUp { worker }),
                None => {}
            }
        }
    }

    /// Whether a renewal of the lease would tell a session anything that it is not about to learn.
    fn beat_would_tell(&self, state: &State, worker: usize, drive: &Drive) -> bool {
        let name = worker_name(state, worker);
        let session = drive.session.get().job();
        let record = state.store.get().jobs.iter().find(|job| job.id == session.id);
        let plain = record.is_some_and(|job| {
            job.fence == session.fence
                && !job.cancel_requested
                && job.state.lease().is_some_and(|lease| lease.worker == name)
        });
        let reasserts = state.calls.iter().any(|sent| {
            sent.asker == Some(worker) && matches!(sent.what.get(), Call::Reassert { .. })
        });
        !plain && !reasserts
    }

    fn of_the_ways(&self, state: &State, actions: &mut Vec<Action>) {
        for (call, sent) in state.calls.iter().enumerate() {
            actions.push(Action::Call { call });
            match sent.asker {
                Some(_) => actions.push(Action::AnswerLost { call }),
                None => actions.push(Action::Vanish { call }),
            }
        }
        for (command, sent) in state.commands.iter().enumerate() {
            if !self.waits(state, sent.what.get()) {
                actions.push(Action::Command { command });
                if sent.asker.is_some() {
                    actions.push(Action::AnswerLate { command });
                }
            }
            if sent.asker.is_none() && sent.what.get().op != Op::Release {
                actions.push(Action::VanishCommand { command });
            }
        }
        for (unit, there) in state.units.iter().enumerate() {
            match (&there.work, there.asker) {
                (Work::Hold, Some(_)) => {}
                (Work::Hold, None) => actions.push(Action::LinkEnds { unit }),
                (Work::Served(_), None) => {
                    actions.extend([Action::UnitEnds { unit }, Action::LinkEnds { unit }]);
                }
                (Work::Undo(_), _) => actions.push(Action::UnitEnds { unit }),
                _ => actions.extend([Action::UnitEnds { unit }, Action::Fail { unit }]),
            }
        }
    }

    /// Nothing can go on, and yet not everything is over.
    fn is_stuck(&self, state: &State) -> bool {
        let mut actions = Vec::new();
        self.actions(state, &mut actions);
        let moves =
            |action: &Action| action.is_progress() && self.next_state(state, *action).is_some();
        if state.harm.is_some() || actions.iter().any(moves) {
            return false;
        }
        let store = state.store.get();
        let over = |job: &Job| job.state.is_terminal();
        let all_over = store.jobs.iter().all(over);
        let idle = state.workers.iter().all(|worker| worker.slot == Slot::Free);
        let none_held = store.held.is_empty();
        !(all_over && idle && none_held && state.guard.get().holder.is_none())
    }
}

impl Model for SmallWorld {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut store = LedgerStore::without(self.removed);
        for job in &self.jobs {
            store.call(seconds(0), &Call::Create(Box::new(job.clone())));
        }
        let worker = Worker { life: 0, slot: Slot::Free };
        vec![State {
            store: Part::new(Books::of(store)),
            wiped: 0,
            ready: vec![1; self.jobs.len()],
            workers: vec![worker; WORKERS],
            calls: Vec::new(),
            commands: Vec::new(),
            guard: Part::new(drs_protocol::guard::VmGuard::default()),
            boot: 1,
            units: Vec::new(),
            record: Record::default(),
            spent: Spent::default(),
            claims: 0,
            harm: None,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.harm.is_some() {
            return;
        }
        self.of_the_queue(state, actions);
        self.of_workers(state, actions);
        self.of_the_ways(state, actions);
        actions.extend([Action::Wipe, Action::Reboot]);
        actions.retain(|action| {
            action.trouble().is_none_or(|trouble| state.spent.may(&self.scope, trouble))
        });
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.apply(&mut state, action);
        if let Some(trouble) = action.trouble() {
            state.spent.note(trouble);
        }
        if self.was_lost(last, action, &state) {
            state.harm.get_or_insert(Harm::Lost);
        }
        let state = state.in_order();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no harm is done", |_, state: &State| state.harm.is_none()),
            Property::always("what cannot go on is over", |world: &Self, state| {
                !world.is_stuck(state)
            }),
        ]
    }

    fn within_boundary(&self, state: &State) -> bool {
        state.claims <= self.scope.claims
    }
}

impl SmallWorld {
    /// One step of a history, for people.
    pub(crate) fn narrate(&self, state: &State, action: Option<Action>) -> String {
        let what = match action {
            None => format!("{:?}; {:?}", state.harm, state),
            Some(Action::Call { call } | Action::AnswerLost { call } | Action::Vanish { call }) => {
                format!("{:?} {:?}", state.calls[call].asker, state.calls[call].what.get())
            }
            Some(
                Action::Command { command }
                | Action::AnswerLate { command }
                | Action::VanishCommand { command },
            ) => {
                let sent = &state.commands[command];
                format!("{:?} {:?}; {:?}", sent.asker, sent.what.get(), state.guard.get())
            }
            Some(Action::Hear { worker, news }) => {
                format!("{:?}", state.drive(worker).map(|drive| drive.inbox[news].clone()))
            }
            Some(Action::UnitEnds { unit } | Action::LinkEnds { unit } | Action::Fail { unit }) => {
                format!("{:?}", state.units[unit])
            }
            Some(_) => String::new(),
        };
        format!("{action:?}: {what}")
    }
}
