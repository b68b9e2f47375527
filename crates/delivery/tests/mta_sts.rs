//! MTA-STS (RFC 8461) over real TLS on loopback: what a look finds, whatever DNS and policy hosts do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use delivery::mta_sts::{
    CacheError, CacheResult, Found, InForce, MemoryCache, MtaSts, Origin, PolicyCache, STS_DNS_FAILED,
    STS_POLICY_FETCH_ERROR, STS_POLICY_INVALID, STS_WEBPKI_INVALID, StsOptions,
};
use delivery::resolve::Dns;
use delivery::tls::{Roots, TlsEngine};
use policy::mta_sts::{Cached, Mode, UnixSeconds};
use smtp::Domain;
use testkit::{Identity, Issue, Lab, PolicyAnswer, PolicySite, Validity};

const POLICY: &str = "version: STSv1\r\nmode: enforce\r\nmx: mx.d.test\r\nmax_age: 86400\r\n";
const NEWER: &str = "version: STSv1\nmode: testing\nmx: *.d.test\nmax_age: 604800\n";
const DAY: i64 = 86_400;

/// A lab with a finder of policies; a test overrides what it is about.
struct World {
    lab: Lab,
    cache: Arc<MemoryCache>,
    options: StsOptions,
}

impl World {
    async fn new() -> World {
        let lab = Lab::empty().await.unwrap();
        let options = StsOptions {
            https_port: lab.https_port(),
            deliver_to_private: vec!["127.0.0.0/8".parse().unwrap()],
            fetch_timeout: Duration::from_secs(20),
            ..StsOptions::default()
        };
        World { lab, cache: Arc::default(), options }
    }

    /// A finder as after a start of the program.
    fn start(&self) -> Arc<MtaSts> {
        self.start_with(self.cache.clone())
    }

    fn start_with(&self, cache: Arc<dyn PolicyCache>) -> Arc<MtaSts> {
        let tls = TlsEngine::new(Roots::of(self.lab.ca().roots())).unwrap();
        Arc::new(MtaSts::new(self.options.clone(), Dns::new(Some(self.lab.dns_addr())), &tls, cache))
    }

    fn publish(&self, id: &str, answer: PolicyAnswer) {
        self.lab.publish_policy("d.test", id, PolicySite::new(answer)).unwrap();
    }

    fn publish_good(&self, id: &str, policy: &str) {
        self.publish(id, PolicyAnswer::Policy(policy.to_owned()));
    }

    fn fetches(&self) -> usize {
        self.lab.policy_host().count("mta-sts.d.test")
    }

    async fn kept(&self) -> Option<Cached> {
        self.cache.get(&d()).await.unwrap()
    }

    /// Keeps a policy that was fetched a while ago.
    async fn keep(&self, id: &str, policy: &str, fetched_at: UnixSeconds) {
        let cached = Cached::fetched(id.parse().unwrap(), policy.parse().unwrap(), fetched_at, fetched_at);
        self.cache.put(&d(), &cached).await.unwrap();
    }

    /// No answer about anything of the domain any more.
    fn kill_dns(&self) {
        self.lab.dns().update(|zone| zone.servfail("_mta-sts.d.test").servfail("mta-sts.d.test").servfail("d.test"));
    }
}

fn d() -> Domain {
    "d.test".parse().unwrap()
}

fn ago(seconds: i64) -> UnixSeconds {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    UnixSeconds(i64::try_from(now.as_secs()).unwrap() - seconds)
}

fn in_force(found: Found) -> InForce {
    match found {
        Found::Policy(in_force) => in_force,
        other => panic!("{other:?}"),
    }
}

fn id_of(found: &Found) -> &str {
    match found {
        Found::Policy(in_force) => in_force.cached.id.as_str(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_policy_is_found_and_kept() {
    let world = World::new().await;
    world.publish_good("1", POLICY);
    let found = in_force(world.start().look(&d()).await);
    assert_eq!((found.cached.policy.mode, found.origin, found.confirmed), (Mode::Enforce, Origin::Fetched, true));
    assert_eq!(world.kept().await.as_ref(), Some(&*found.cached));

    let requests = world.lab.policy_host().requests();
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    assert_eq!(
        (request.sni.as_str(), request.line.as_str()),
        ("mta-sts.d.test", "GET /.well-known/mta-sts.txt HTTP/1.1")
    );
    assert!(request.fields.iter().any(|field| field.starts_with("host: mta-sts.d.test")), "{request:?}");

    // The program starts anew: what it kept serves without a fetch.
    let found = in_force(world.start().look(&d()).await);
    assert_eq!((found.origin, found.confirmed, world.fetches()), (Origin::Kept, true, 1));
}

#[tokio::test]
async fn aliases_are_followed_and_parents_are_not_asked() {
    let world = World::new().await;
    world.publish_good("1", POLICY);
    let identity = world.lab.ca().issue(&Issue::new("mta-sts.c.test")).unwrap();
    let site = PolicySite { identity: Some(identity), ..PolicySite::good(NEWER) };
    world.lab.policy_host().set("mta-sts.c.test", site).unwrap();
    world
        .lab
        .dns()
        .update(|zone| zone.cname("_mta-sts.c.test", "_mta-sts.d.test").cname("mta-sts.c.test", "mta-sts.d.test"));
    let sts = world.start();
    let found = sts.look(&"c.test".parse().unwrap()).await;
    assert_eq!((id_of(&found), found.policy().unwrap().mode), ("1", Mode::Testing));

    let found = sts.look(&"below.d.test".parse().unwrap()).await;
    assert!(matches!(found, Found::NoPolicy), "{found:?}");
    let asked: Vec<_> = world.lab.dns().queries().into_iter().map(|asked| asked.name).collect();
    assert!(!asked.contains(&"_mta-sts.d.test".to_owned()), "{asked:?}");
}

#[tokio::test]
async fn records_that_announce_nothing() {
    let world = World::new().await;
    world.publish_good("1", POLICY);
    for record in ["v=STSv1;", "v=STSv1; id=a b", "v=spf1 -all"] {
        world.lab.dns().update(|zone| zone.without("_mta-sts.d.test").txt("_mta-sts.d.test", record));
        assert!(matches!(world.start().look(&d()).await, Found::NoPolicy), "{record}");
    }
    let twice = |zone: testkit::Zone| {
        let zone = zone.without("_mta-sts.d.test").txt("_mta-sts.d.test", "v=STSv1; id=1");
        zone.txt("_mta-sts.d.test", "v=STSv1; id=2")
    };
    world.lab.dns().update(twice);
    assert!(matches!(world.start().look(&d()).await, Found::NoPolicy));
    assert_eq!(world.fetches(), 0);

    world.kill_dns();
    let found = world.start().look(&d()).await;
    assert_eq!(found.failure().map(|(reason, _)| reason), Some(STS_DNS_FAILED));
    // A long text comes in several strings and by TCP.
    let long = format!("v=STSv1; id=1; {}", (0..300).map(|n| format!("x{n}=12345678;")).collect::<String>());
    world
        .lab
        .dns()
        .update(|zone| zone.without("_mta-sts.d.test").without("mta-sts.d.test").txt("_mta-sts.d.test", &long));
    let found = world.start().look(&d()).await;
    assert_eq!(found.failure(), Some((STS_POLICY_FETCH_ERROR, "mta-sts.d.test has no address")));
}

type MakeIdentity = Box<dyn Fn(&Lab) -> Identity>;
/// What a policy host does, the reason that it comes to, and part of the words.
type Failing = (&'static str, (PolicyAnswer, Option<MakeIdentity>), &'static str, &'static str);

fn policy() -> String {
    POLICY.to_owned()
}

fn failing_answers() -> Vec<Failing> {
    let answer = |answer| (answer, None::<MakeIdentity>);
    vec![
        ("redirect", answer(PolicyAnswer::Redirect(policy())), STS_POLICY_FETCH_ERROR, "301"),
        ("404", answer(PolicyAnswer::Status(404, policy())), STS_POLICY_FETCH_ERROR, "404"),
        ("500", answer(PolicyAnswer::Status(500, policy())), STS_POLICY_FETCH_ERROR, "500"),
        ("201", answer(PolicyAnswer::Status(201, policy())), STS_POLICY_FETCH_ERROR, "201"),
        ("304", answer(PolicyAnswer::Status(304, String::new())), STS_POLICY_FETCH_ERROR, "304"),
        ("html", answer(PolicyAnswer::Typed("text/html".into(), policy())), STS_POLICY_FETCH_ERROR, "'text/html'"),
        ("plain-ish", answer(PolicyAnswer::Typed("text/plainer".into(), policy())), STS_POLICY_FETCH_ERROR, "plainer"),
        ("huge", answer(PolicyAnswer::Endless(policy(), 10 << 20)), STS_POLICY_INVALID, "larger than 65536"),
        (
            "slow",
            answer(PolicyAnswer::Slow(policy(), Duration::from_millis(500))),
            STS_POLICY_FETCH_ERROR,
            "longer than 3 seconds",
        ),
        ("silent", answer(PolicyAnswer::Silent), STS_POLICY_FETCH_ERROR, "longer than 3 seconds"),
        (
            "not HTTP",
            answer(PolicyAnswer::Raw("220 mx.d.test ESMTP\r\n".into())),
            STS_POLICY_FETCH_ERROR,
            "no answer in HTTP",
        ),
        (
            "endless head",
            answer(PolicyAnswer::Raw(format!("HTTP/1.1 200 OK\r\nX: {}", "y".repeat(100_000)))),
            STS_POLICY_FETCH_ERROR,
            "no answer in HTTP",
        ),
        (
            "cut short",
            answer(PolicyAnswer::Raw(format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000\r\n\r\n{POLICY}"
            ))),
            STS_POLICY_FETCH_ERROR,
            "broke off",
        ),
        (
            "no type",
            answer(PolicyAnswer::Raw(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{POLICY}", POLICY.len()))),
            STS_POLICY_FETCH_ERROR,
            "sent ''",
        ),
        (
            "an address",
            answer(PolicyAnswer::Policy(POLICY.replace("mx.d.test", "127.0.0.2"))),
            STS_POLICY_INVALID,
            "'127.0.0.2' cannot be the 'mx'",
        ),
        (
            "a wildcard in the middle",
            answer(PolicyAnswer::Policy(POLICY.replace("mx.d.test", "mx.*.test"))),
            STS_POLICY_INVALID,
            "'mx.*.test' cannot be the 'mx'",
        ),
        ("invalid", answer(PolicyAnswer::Policy("version: STSv1\nmode: off\n".into())), STS_POLICY_INVALID, "'off'"),
    ]
}

fn failing_certificates() -> Vec<Failing> {
    let identity = |issue: Issue| move |lab: &Lab| lab.ca().issue(&issue).unwrap();
    let certificate = |make: MakeIdentity| (PolicyAnswer::Policy(policy()), Some(make));
    let host = "mta-sts.d.test";
    vec![
        (
            "expired",
            certificate(Box::new(identity(Issue { validity: Validity::Expired, ..Issue::new(host) }))),
            STS_WEBPKI_INVALID,
            "expired",
        ),
        ("wrong name", certificate(Box::new(identity(Issue::new("d.test")))), STS_WEBPKI_INVALID, "not valid for name"),
        (
            "name in the subject only",
            certificate(Box::new(identity(Issue::without_san(host)))),
            STS_WEBPKI_INVALID,
            "not valid for",
        ),
        (
            "self-signed",
            certificate(Box::new(move |_| Identity::self_signed(&Issue::new(host)).unwrap())),
            STS_WEBPKI_INVALID,
            "certificate",
        ),
    ]
}

/// Each way in which a policy host can fail: without a kept policy there is none, with one it applies.
#[tokio::test]
async fn a_policy_host_that_fails() {
    for (name, (answer, identity), reason, words) in failing_answers().into_iter().chain(failing_certificates()) {
        let mut world = World::new().await;
        world.options.fetch_timeout = Duration::from_secs(3);
        let identity = identity.map(|make| make(&world.lab));
        world.lab.publish_policy("d.test", "2", PolicySite { identity, ..PolicySite::new(answer) }).unwrap();
        let found = world.start().look(&d()).await;
        let Found::Failed { reason: why, detail } = &found else { panic!("{name}: {found:?}") };
        assert!(*why == reason && detail.contains(words), "{name}: {why} {detail}");
        assert_eq!(world.kept().await, None, "{name}");

        world.keep("1", POLICY, ago(10)).await;
        let found = world.start().look(&d()).await;
        assert_eq!((id_of(&found), found.failure().map(|(why, _)| why)), ("1", Some(reason)), "{name}");
        assert!(!in_force(found).confirmed);
    }
}

#[tokio::test]
async fn what_is_kept_applies_when_dns_and_web_are_dead() {
    let world = World::new().await;
    world.keep("1", POLICY, ago(DAY - 100)).await;
    // Nothing is published: a domain that hides its record hides nothing.
    let found = in_force(world.start().look(&d()).await);
    assert_eq!((found.origin, found.confirmed), (Origin::Kept, false));
    world.kill_dns();
    let found = in_force(world.start().look(&d()).await);
    assert_eq!((found.origin, found.confirmed), (Origin::Kept, false));
    // Until it expires.
    world.keep("1", POLICY, ago(DAY + 1)).await;
    assert!(matches!(world.start().look(&d()).await, Found::Failed { reason: STS_DNS_FAILED, .. }));
}

#[tokio::test]
async fn a_newer_id_is_found() {
    let mut world = World::new().await;
    world.keep("1", POLICY, ago(10)).await;
    world.publish_good("2", NEWER);
    let found = world.start().look(&d()).await;
    assert_eq!((id_of(&found), found.policy().unwrap().mode), ("2", Mode::Testing));
    assert_eq!(world.kept().await.unwrap().id.as_str(), "2");

    // Before a failure for good the DNS is asked again, also when it was asked a moment ago and said nothing.
    world.options.remember = Duration::from_secs(3600);
    world.keep("1", POLICY, ago(10)).await;
    world.kill_dns();
    let sts = world.start();
    let old = in_force(sts.look(&d()).await);
    world.lab.dns().update(|zone| zone.without("_mta-sts.d.test").without("mta-sts.d.test").without("d.test"));
    world.publish_good("2", NEWER);
    assert_eq!(id_of(&sts.look(&d()).await), "1");
    let newer = sts.newer_than(&d(), &old).await.expect("a newer policy");
    assert_eq!((id_of(&newer), id_of(&sts.look(&d()).await)), ("2", "2"));
    // The newer one is confirmed, and testing fails nobody.
    assert!(sts.newer_than(&d(), &in_force(newer)).await.is_none());
    // Who still holds the old one is told the same, without another fetch.
    let fetches = world.fetches();
    assert_eq!(sts.newer_than(&d(), &old).await.as_ref().map(id_of), Some("2"));
    assert_eq!(world.fetches(), fetches);
}

#[tokio::test]
async fn a_failure_stands_under_the_same_policy() {
    let world = World::new().await;
    world.keep("1", POLICY, ago(10)).await;
    world.kill_dns();
    let sts = world.start();
    let found = in_force(sts.look(&d()).await);
    let asked = world.lab.dns().queries().len();
    assert!(sts.newer_than(&d(), &found).await.is_none());
    assert!(world.lab.dns().queries().len() > asked, "it was looked for");
    // A policy whose id the DNS confirmed needs no second look.
    world.lab.dns().update(|zone| zone.without("_mta-sts.d.test").without("mta-sts.d.test").without("d.test"));
    world.publish_good("1", POLICY);
    let sts = world.start();
    let found = in_force(sts.look(&d()).await);
    let asked = world.lab.dns().queries().len();
    assert!(found.confirmed && sts.newer_than(&d(), &found).await.is_none());
    assert_eq!(world.lab.dns().queries().len(), asked);
}

#[tokio::test]
async fn fifty_who_ask_at_once_cause_one_fetch() {
    let world = World::new().await;
    let slow = PolicySite { delay: Duration::from_millis(300), ..PolicySite::good(POLICY) };
    world.lab.publish_policy("d.test", "1", slow).unwrap();
    let sts = world.start();
    let ask = || {
        let sts = sts.clone();
        tokio::spawn(async move { sts.look(&d()).await })
    };
    let first = ask();
    let asking: Vec<_> = (0..49).map(|_| ask()).collect();
    // The one who fetches goes away: another takes over.
    tokio::time::sleep(Duration::from_millis(100)).await;
    first.abort();
    for asked in asking {
        assert_eq!(id_of(&asked.await.unwrap()), "1");
    }
    assert!(world.fetches() <= 2, "{} fetches", world.fetches());
    let txt = world.lab.dns().queries().iter().filter(|asked| asked.name == "_mta-sts.d.test").count();
    assert!(txt <= 2, "{txt} lookups");
}

#[tokio::test]
async fn a_dead_policy_host_slows_one_delivery() {
    let mut world = World::new().await;
    world.options.fetch_timeout = Duration::from_secs(1);
    world.publish("1", PolicyAnswer::Silent);
    let sts = world.start();
    let started = Instant::now();
    for _ in 0..20 {
        assert!(matches!(sts.look(&d()).await, Found::Failed { reason: STS_POLICY_FETCH_ERROR, .. }));
    }
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(world.fetches(), 1);

    // Not for ever.
    world.options.remember_failure = Duration::ZERO;
    world.publish_good("1", POLICY);
    let sts = world.start();
    world.publish("2", PolicyAnswer::Status(503, String::new()));
    assert!(matches!(sts.look(&d()).await, Found::Failed { .. }));
    world.publish_good("2", POLICY);
    assert_eq!(id_of(&sts.look(&d()).await), "2");
}

#[tokio::test]
async fn private_addresses_are_not_reached() {
    let mut world = World::new().await;
    world.publish_good("1", POLICY);
    world.options.deliver_to_private = Vec::new();
    for address in ["127.0.0.1", "0.0.0.0", "169.254.169.254", "10.0.0.1", "::", "::1", "::ffff:127.0.0.1", "fd00::1"] {
        world
            .lab
            .dns()
            .update(|zone| zone.without("mta-sts.d.test").address("mta-sts.d.test", address.parse().unwrap()));
        let found = world.start().look(&d()).await;
        let Found::Failed { reason: STS_POLICY_FETCH_ERROR, detail } = found else { panic!("{address}: {found:?}") };
        assert!(detail.contains("not a public address"), "{detail}");
    }
    assert_eq!(world.fetches(), 0);

    // A second, allowed address is used, and the prohibited one is not.
    world.options.deliver_to_private = vec!["127.0.0.1/32".parse().unwrap()];
    world.lab.dns().update(|zone| {
        let zone = zone.without("mta-sts.d.test").a("mta-sts.d.test", [169, 254, 169, 254].into());
        zone.a("mta-sts.d.test", [127, 0, 0, 1].into())
    });
    assert_eq!(id_of(&world.start().look(&d()).await), "1");
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let world = World::new().await;
    world.publish_good("1", POLICY);
    // Nothing listens at the others.
    world
        .lab
        .dns()
        .update(|zone| zone.a("mta-sts.d.test", [127, 0, 0, 9].into()).a("mta-sts.d.test", [127, 0, 0, 8].into()));
    assert_eq!(id_of(&world.start().look(&d()).await), "1");
}

#[tokio::test]
async fn policies_are_refreshed_before_they_expire() {
    let world = World::new().await;
    // Fetched so long ago that it is due, not so long that it is gone.
    let due = ago(DAY * 3 / 4);
    world.keep("1", POLICY, due).await;
    world.publish_good("1", NEWER);
    let sts = world.start();
    assert_eq!(in_force(sts.look(&d()).await).cached.policy.mode, Mode::Enforce);
    assert_eq!(sts.clone().refresh_due().await, 1);
    let kept = world.kept().await.unwrap();
    assert_eq!((kept.policy.mode, kept.fetched_at > due, kept.used_at), (Mode::Testing, true, due));
    // Deliveries see it at once, and it is not due any more.
    assert_eq!(in_force(sts.look(&d()).await).cached.policy.mode, Mode::Testing);
    assert_eq!((sts.refresh_due().await, world.fetches()), (0, 1));
}

#[tokio::test]
async fn a_refresh_that_fails_leaves_the_policy_and_waits() {
    let world = World::new().await;
    world.keep("1", POLICY, ago(DAY * 3 / 4)).await;
    let before = world.kept().await.unwrap();
    world.publish("2", PolicyAnswer::Status(500, POLICY.to_owned()));
    let sts = world.start();
    assert_eq!(sts.clone().refresh_due().await, 0);
    let after = world.kept().await.unwrap();
    assert_eq!((&after.policy, after.fetched_at), (&before.policy, before.fetched_at));
    assert!(after.refresh_at > before.refresh_at && after.refresh_at < after.expires_at());
    assert_eq!((sts.refresh_due().await, world.fetches()), (0, 1));

    // A record that was taken away lets the policy run out; what has run out goes.
    world.keep("1", POLICY, ago(DAY * 3 / 4)).await;
    world.lab.dns().update(|zone| zone.without("_mta-sts.d.test"));
    assert_eq!((world.start().refresh_due().await, world.fetches()), (0, 1));
    assert!(world.kept().await.is_some());
    world.keep("1", POLICY, ago(DAY + 1)).await;
    world.start().refresh_due().await;
    assert_eq!(world.kept().await, None);
}

#[tokio::test]
async fn keeping_fresh_ends_when_it_is_told() {
    let world = World::new().await;
    world.keep("1", POLICY, ago(DAY * 3 / 4)).await;
    world.publish("1", PolicyAnswer::Silent);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let running = tokio::spawn(world.start().keep_fresh(stopped));
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("an end").unwrap();
}

#[tokio::test]
async fn an_unreadable_cache_is_not_an_empty_one() {
    struct Broken;
    impl PolicyCache for Broken {
        fn get<'a>(&'a self, _: &'a Domain) -> CacheResult<'a, Option<Cached>> {
            Box::pin(async { Err(CacheError("on fire".to_owned())) })
        }
        fn put<'a>(&'a self, _: &'a Domain, _: &'a Cached) -> CacheResult<'a, ()> {
            Box::pin(async { Err(CacheError("on fire".to_owned())) })
        }
        fn note<'a>(&'a self, _: &'a Domain, _: &'a Cached) -> CacheResult<'a, ()> {
            Box::pin(async { Err(CacheError("on fire".to_owned())) })
        }
        fn due<'a>(&'a self, _: UnixSeconds, _: usize) -> CacheResult<'a, Vec<(Domain, Cached)>> {
            Box::pin(async { Err(CacheError("on fire".to_owned())) })
        }
        fn forget_expired<'a>(&'a self, _: UnixSeconds) -> CacheResult<'a, ()> {
            Box::pin(async { Err(CacheError("on fire".to_owned())) })
        }
    }
    let world = World::new().await;
    let look = async || world.start_with(Arc::new(Broken)).look(&d()).await;
    assert!(matches!(look().await, Found::Unknown { .. }));
    world.publish("1", PolicyAnswer::Status(404, String::new()));
    assert!(matches!(look().await, Found::Unknown { .. }));
    // What is announced and can be had is in force, kept or not.
    world.publish_good("1", POLICY);
    assert_eq!(id_of(&look().await), "1");
    assert_eq!(world.start_with(Arc::new(Broken)).refresh_due().await, 0);
}

#[tokio::test]
async fn what_was_found_is_told() {
    let world = World::new().await;
    let told = async || {
        let found = world.start().look(&d()).await;
        let hosts = ["mx.d.test", "mx.elsewhere.test"].map(|host| host.parse().unwrap());
        let told = serde_json::to_string(&found.evidence()).unwrap();
        (told, found.enforces(), hosts.each_ref().map(|host| (found.admits(host), found.names(host))))
    };
    assert_eq!(told().await, ("null".to_owned(), false, [(true, None), (true, None)]));
    world.publish_good("1", POLICY);
    let fetched = r#"{"mode":"enforce","id":"1","source":"fetched"}"#.to_owned();
    assert_eq!(told().await, (fetched, true, [(true, Some(true)), (false, Some(false))]));
    world.publish_good("2", NEWER);
    let testing = r#"{"mode":"testing","id":"2","source":"fetched"}"#.to_owned();
    assert_eq!(told().await, (testing, false, [(true, Some(true)), (true, Some(false))]));
    world.publish("3", PolicyAnswer::Status(404, String::new()));
    let kept = r#"{"mode":"testing","id":"2","source":"cached","failure":"sts-policy-fetch-error","detail":"mta-sts.d.test answered 404"}"#;
    assert_eq!(told().await.0, kept);
    world.cache.forget_expired(ago(-1000 * DAY)).await.unwrap();
    let failed =
        r#"{"mode":"failed","failure":"sts-policy-fetch-error","detail":"mta-sts.d.test answered 404"}"#.to_owned();
    assert_eq!(told().await, (failed, false, [(true, None), (true, None)]));
    world.publish_good("4", "version: STSv1\nmode: none\nmax_age: 60\n");
    let none = r#"{"mode":"none","id":"4","source":"fetched"}"#.to_owned();
    assert_eq!(told().await, (none, false, [(true, None), (true, None)]));
}

#[tokio::test]
async fn nobody_at_the_policy_host() {
    let mut world = World::new().await;
    world.publish_good("1", POLICY);
    // A port at which nobody listens any more.
    let gone: SocketAddr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    world.options.https_port = gone.port();
    let found = world.start().look(&d()).await;
    assert_eq!(found.failure().map(|(reason, _)| reason), Some(STS_POLICY_FETCH_ERROR));
}
