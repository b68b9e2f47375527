//! A connection carries no second message before what became of the first is recorded: what the receivers saw of it.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{PATIENCE, Scenario};
use delivery::{Client, Outcome, Receipt, Report};
use testkit::{Answer, Behaviour, Lab, Receiver, Session, Stage, Tls};

/// A lab with one host for `d.test` and a client that makes many deliveries to it.
struct World {
    lab: Lab,
    host: Receiver,
    client: Arc<Client>,
}

impl World {
    async fn start(behaviour: Behaviour) -> World {
        let mut lab = Lab::empty().await.unwrap();
        let host = lab.add("d", behaviour).await.unwrap();
        let client = Arc::new(Scenario::default().client(&lab));
        World { lab, host, client }
    }

    /// A delivery that the host takes, and its receipt.
    async fn unrecorded(&self) -> (Report, Receipt) {
        self.begin().await.unwrap()
    }

    /// One that runs beside the test.
    fn begin(&self) -> tokio::task::JoinHandle<(Report, Receipt)> {
        let client = self.client.clone();
        tokio::spawn(async move {
            let mut report = Scenario::default().unrecorded(&client).await;
            assert!(matches!(report.recipients[0].outcome, Outcome::Delivered(_)), "{report:?}");
            let receipt = report.receipt.take().expect("what was taken has a receipt");
            (report, receipt)
        })
    }

    /// Waits until the first connection has heard so many DATA.
    async fn heard_data(&self, count: usize) {
        let all = async {
            while data(&self.host.sessions()[0]) < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("DATA is said");
    }

    /// How many messages each connection brought, once all are over.
    async fn messages_by_session(&self) -> Vec<usize> {
        self.client.close().await;
        let sessions = self.host.wait_for_sessions(self.host.sessions().len(), PATIENCE).await;
        assert!(sessions.iter().all(|session| session.ended));
        assert_eq!(self.lab.violations(), Vec::<String>::new());
        sessions.iter().map(|session| session.messages.len()).collect()
    }
}

fn data(session: &Session) -> usize {
    session.verbs().iter().filter(|verb| *verb == "DATA").count()
}

fn was_reused(report: &Report) -> bool {
    report.recipients[0].connection.as_ref().is_some_and(|connection| connection.reused)
}

/// Long enough for content that nobody holds back to arrive.
const A_WHILE: Duration = Duration::from_millis(100);

#[tokio::test]
async fn content_waits_for_the_record_of_what_came_before() {
    for (pipelining, tls) in [(true, Tls::Good), (false, Tls::Good), (true, Tls::NotOffered)] {
        let world = World::start(Behaviour { pipelining, tls, ..Behaviour::default() }).await;
        let (_, mut before) = world.unrecorded().await;
        for number in 2..5 {
            let next = world.begin();
            world.heard_data(number).await;
            tokio::time::sleep(A_WHILE).await;
            assert_eq!(world.host.messages().len(), number - 1, "all but the content is said");
            assert!(!next.is_finished());
            before.settle();
            let (report, receipt) = next.await.unwrap();
            assert!(was_reused(&report));
            before = receipt;
        }
        before.settle();
        assert_eq!(world.messages_by_session().await, [4]);
    }
}

#[tokio::test]
async fn a_receipt_dropped_while_the_next_waits_sends_it_to_another_connection() {
    let world = World::start(Behaviour::default()).await;
    let (_, receipt) = world.unrecorded().await;
    let next = world.begin();
    world.heard_data(2).await;
    drop(receipt);
    let (report, receipt) = next.await.unwrap();
    let steps: Vec<_> = report.steps.iter().map(|step| (step.result, step.reason)).collect();
    assert_eq!(steps, [("reconnect", Some("not-recorded")), ("delivered", None)]);
    assert!(!was_reused(&report));
    receipt.settle();
    assert_eq!(world.messages_by_session().await, [1, 1]);
}

#[tokio::test]
async fn a_receipt_dropped_before_ends_its_connection_politely() {
    let world = World::start(Behaviour::default()).await;
    drop(world.unrecorded().await);
    let (report, receipt) = world.unrecorded().await;
    assert_eq!((report.steps.len(), was_reused(&report)), (1, false));
    receipt.settle();
    assert_eq!(world.messages_by_session().await, [1, 1]);
    let sessions = world.host.sessions();
    assert!(sessions[0].closed_by_quit);
    assert_eq!(data(&sessions[0]), 1);
}

#[tokio::test]
async fn a_connection_whose_receipt_is_out_is_the_last_choice() {
    // So that both are under way before one has ended.
    let delays = [(Stage::EndOfData, 10 * A_WHILE)].into();
    let world = World::start(Behaviour { delays, ..Behaviour::default() }).await;
    let (first, second) = tokio::join!(world.unrecorded(), world.unrecorded());
    // Whichever waits longer in the pool.
    first.1.settle();
    let (report, receipt) = world.unrecorded().await;
    assert!(was_reused(&report));
    second.1.settle();
    receipt.settle();
    let mut messages = world.messages_by_session().await;
    messages.sort_unstable();
    assert_eq!(messages, [1, 2]);
}

#[tokio::test]
async fn a_connection_of_no_further_use_is_kept_until_the_record() {
    let world = World::start(Behaviour::default()).await;
    let (_, receipt) = world.unrecorded().await;
    let closing = tokio::spawn({
        let client = world.client.clone();
        async move { client.close().await }
    });
    tokio::time::sleep(A_WHILE).await;
    assert!(!world.host.sessions()[0].ended);
    receipt.settle();
    closing.await.unwrap();
    assert_eq!(world.messages_by_session().await, [1]);
    assert!(world.host.sessions()[0].closed_by_quit);
}

#[tokio::test]
async fn what_no_host_took_has_no_receipt() {
    let world = World::start(Behaviour { rcpt: Some(Answer::new(450, "later")), ..Behaviour::default() }).await;
    let report = Scenario::default().unrecorded(&world.client).await;
    assert!(report.receipt.is_none());
}
