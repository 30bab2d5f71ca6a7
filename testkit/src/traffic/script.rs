//! The steps by which each end plays its part of a plan.

use std::collections::VecDeque;

use super::plan::{Ending, Kind, Plan};

/// The server's last words where a plan has room: sent only once everything
/// has arrived, so that the client knows that it has.
const VERDICT: u64 = 1;

/// What an end waits for before it goes on sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// The client's header; what follows depends on it.
    Plan,
    /// The server's greeting.
    Greeting,
    /// So many bytes in all.
    Received(u64),
    /// The end of the stream.
    End,
}

/// One step of sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The header, whose content needs the greeting.
    Header,
    /// So many bytes of the pattern, in random pieces.
    Send(u64),
    /// Wait.
    Wait(Gate),
    /// Shut the sending side down.
    Shut,
    /// Close at once, reading nothing more.
    Close,
    /// Reset the connection.
    Abort,
}

/// The client's part.
pub(crate) fn client(plan: &Plan, greeted: bool) -> VecDeque<Step> {
    use Step::{Abort, Close, Header, Send, Shut, Wait};
    let mut steps = VecDeque::new();
    if greeted {
        steps.push_back(Wait(Gate::Greeting));
    }
    steps.push_back(Header);
    match plan.kind {
        Kind::Rounds => {
            let mut received = 0;
            for (up, down) in plan.shares(plan.up).into_iter().zip(plan.shares(plan.down)) {
                received += down;
                steps.extend([Send(up), Wait(Gate::Received(received))]);
            }
            steps.extend(match plan.ending {
                Ending::ClientShuts => vec![Shut],
                Ending::ServerShuts => vec![Wait(Gate::End), Shut],
                Ending::ClientCloses => vec![Close],
            });
        }
        Kind::Burst => steps.extend([Send(plan.up), Wait(Gate::Received(plan.down)), Shut]),
        Kind::ClientHalfClose => steps.extend([Send(plan.up), Shut]),
        Kind::ServerHalfClose => {
            let first = plan.up / 2;
            steps.extend([Send(first), Wait(Gate::End), Send(plan.up - first), Shut]);
        }
        Kind::ClientAbort => {
            let some = plan.down.min(plan.up).max(1);
            steps.extend([Send(plan.up), Wait(Gate::Received(some)), Abort]);
        }
        Kind::ServerAbort => steps.extend([Send(plan.up), Wait(Gate::End), Shut]),
    }
    steps
}

/// The server's part, once it knows the plan.
pub(crate) fn server(plan: &Plan) -> VecDeque<Step> {
    use Step::{Abort, Send, Shut, Wait};
    let everything = Wait(Gate::Received(plan.up));
    let mut steps = VecDeque::new();
    match plan.kind {
        Kind::Rounds => {
            let mut received = 0;
            for (up, down) in plan.shares(plan.up).into_iter().zip(plan.shares(plan.down)) {
                received += up;
                steps.extend([Wait(Gate::Received(received)), Send(down)]);
            }
            if plan.ending != Ending::ServerShuts {
                steps.push_back(Wait(Gate::End));
            }
            steps.push_back(Shut);
        }
        Kind::Burst => {
            let first = plan.down - VERDICT;
            steps.extend([
                Send(first),
                everything,
                Send(VERDICT),
                Wait(Gate::End),
                Shut,
            ]);
        }
        Kind::ClientHalfClose => steps.extend([Wait(Gate::End), Send(plan.down), Shut]),
        Kind::ServerHalfClose => {
            steps.extend([Wait(Gate::Received(plan.up / 2)), Send(plan.down), Shut]);
        }
        Kind::ClientAbort => steps.extend([Send(plan.down), Wait(Gate::End), Shut]),
        Kind::ServerAbort => steps.extend([everything, Send(plan.down), Abort]),
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{Step, client, server};
    use crate::traffic::plan::{Ending, Kind, Plan, Shapes};
    use fastrand::Rng;

    fn sent(steps: impl IntoIterator<Item = Step>) -> u64 {
        steps
            .into_iter()
            .map(|step| if let Step::Send(n) = step { n } else { 0 })
            .sum()
    }

    #[test]
    fn both_ends_send_what_the_plan_says() {
        let mut rng = Rng::with_seed(3);
        let shapes = Shapes {
            kinds: Kind::ALL.to_vec(),
            sizes: (1, 10_000),
            turns: 16,
            endings: Ending::ALL.to_vec(),
        };
        for _ in 0..500 {
            let plan = Plan::random(&mut rng, &shapes);
            assert_eq!(sent(client(&plan, false)), plan.up, "{plan:?}");
            assert_eq!(sent(server(&plan)), plan.down, "{plan:?}");
        }
    }
}
