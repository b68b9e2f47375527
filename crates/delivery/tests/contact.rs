//! What an attempt says of the hosts themselves: whether a site is to be held back.

mod common;

use common::{Scenario, all};
use policy::backoff::Contact;
use testkit::{Answer, Behaviour, Host, Stage, Tls};

fn plain() -> Behaviour {
    Behaviour { tls: Tls::NotOffered, ..Behaviour::default() }
}

fn greets(code: u16, text: &str) -> Behaviour {
    Behaviour { greeting: Some(Answer::new(code, text)), ..plain() }
}

fn rcpt(code: u16, text: &str) -> Behaviour {
    Behaviour { rcpt: Some(Answer::new(code, text)), ..plain() }
}

#[tokio::test]
async fn who_counts_against_a_site() {
    use Contact::{Answered, TurnedAway, Unreached};
    let silent = || Behaviour { drop_after: Some(Stage::Connect), ..plain() };
    let cases = [
        ("taken", vec![plain()], Answered),
        ("no greeting", vec![silent()], Unreached),
        ("a greeting that refuses", vec![greets(554, "no")], Unreached),
        ("busy", vec![greets(421, "busy")], TurnedAway),
        ("too many", vec![greets(450, "Too many connections")], TurnedAway),
        ("no such user", vec![rcpt(550, "5.1.1 nobody")], Answered),
        ("greylisted", vec![rcpt(450, "4.2.0 later")], Answered),
        ("closing at RCPT", vec![rcpt(421, "4.7.0 too much mail")], TurnedAway),
        ("not accepting now", vec![rcpt(451, "4.3.2 not now")], TurnedAway),
        ("hangs up in the middle", vec![Behaviour { drop_after: Some(Stage::Mail), ..plain() }], Answered),
        // One host of several: a dead one is no dead site, and one that takes the message is not busy.
        ("the first is dead", vec![silent(), plain()], Answered),
        ("all are dead", vec![silent(), silent()], Unreached),
        ("the first is busy", vec![greets(421, "busy"), plain()], Answered),
        ("the second is busy", vec![rcpt(450, "4.2.0 later"), greets(421, "busy")], TurnedAway),
    ];
    all(cases
        .into_iter()
        .map(|(name, behaviours, expected)| {
            let case = async move {
                let hosts = (10..).zip(behaviours);
                let hosts = hosts.map(|(preference, b)| Host::new(&format!("h{preference}"), preference, b)).collect();
                let run = Scenario::hosts(hosts).run().await;
                assert_eq!(run.report.contact, expected, "{:?}", run.steps());
            };
            (name.to_owned(), case)
        })
        .collect())
    .await;
}

#[tokio::test]
async fn nobody_was_tried() {
    let nowhere = Scenario { zone: |zone, _| zone.servfail("d.test"), ..Scenario::default() }.run().await;
    assert_eq!(nowhere.report.contact, Contact::Untried);
    let prohibited = Scenario { deliver_to_private: Vec::new(), ..Scenario::with(plain()) }.run().await;
    assert_eq!(prohibited.report.contact, Contact::Untried);
}
