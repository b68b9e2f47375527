//! Claims: what is due goes to whoever asks, in rounds over sites and, within each, over destinations.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use policy::site::Site;
use rusqlite::params;
use smtp::Domain;
use smtp::dsn::RcptDsn;

use super::queue::{give_up, give_up_destination};
use super::row::{from_json, get, number, optional_json, optional_time, parsed, resolved, time, to_json};
use super::site::{hold_destination, hold_site, refresh, refresh_site};
use super::sql::{OptionalExtension, Rows};
use super::writer::Writing;
use super::{Engine, dsn, queue};
use crate::{
    Claim, ClaimedRecipient, Gate, Held, Job, Loaded, MessageId, Overdue, RECIPIENTS_PER_JOB, RecipientId, Room,
    StoreError, Timestamp,
};

/// Due sites, the longest waiting first: those that are prompt, or the others. SQLite gives one row after another as long as
/// they are wanted; PostgreSQL sends all that were asked for, hence its limits here and below.
pub(super) const DUE_SITES: &str = "
    SELECT name, due_at FROM site INDEXED BY site_due
    WHERE prompt = ?1 AND due_at <= ?2 ORDER BY due_at /*+ LIMIT 4096 */";

/// The due destinations of a site, the longest waiting first.
pub(super) const DUE_OF_SITE: &str = "
    SELECT name FROM destination INDEXED BY destination_site
    WHERE site = ?1 AND due_at <= ?2 ORDER BY due_at /*+ LIMIT 4096 */";

/// The recipients at a destination that have waited longest, and their messages: the first entries in `recipient_due`.
pub(super) const OLDEST_OF_DESTINATION: &str = "
    SELECT message, id FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at <= ?2
    ORDER BY due_at LIMIT ?3";

/// The due recipients of a message at a destination.
pub(super) const DUE_OF_MESSAGE: &str = "
    SELECT id, address, attempts FROM recipient INDEXED BY recipient_message
    WHERE message = ?1 AND destination = ?2 AND due_at <= ?3
    ORDER BY id /*+ LIMIT 200 */";

/// A recipient alone, where each one gets a copy of its own.
const ONE_OF_MESSAGE: &str = "SELECT id, address, attempts FROM recipient WHERE id = ?1";
const IS_INDIVIDUAL: &str = "SELECT copy_plan IS NOT NULL OR tracking IS NOT NULL FROM message WHERE id = ?1";

pub(super) const DESTINATIONS_OF_SITE: &str =
    "SELECT name FROM destination INDEXED BY destination_site WHERE site = ?1 AND due_at IS NOT NULL";

/// Recipients who were due too long ago, each by the attempts that were made for it.
pub(super) const OVERDUE: &str = "
    SELECT id, message, destination, address, attempts FROM recipient INDEXED BY recipient_due
    WHERE destination = ?1 AND due_at <= ?2
        AND due_at <= (SELECT CAST(value AS BIGINT) FROM json_each(?3) WHERE key = min(attempts, json_array_length(?3) - 1))
    LIMIT ?4";

/// Recipients at a destination, or at those of a site, of messages whose own time is over.
pub(super) const EXPIRED: &str = "
    SELECT r.id, r.message, r.destination, r.address, r.attempts
    FROM message m INDEXED BY message_expires
    CROSS JOIN recipient r INDEXED BY recipient_message ON r.message = m.id
    CROSS JOIN destination d ON d.name = r.destination
    WHERE m.expires_at <= ?1 AND m.unfinished > 0 AND r.due_at <= ?1 AND (d.name = ?2 OR d.site = ?3)
    LIMIT ?4";

const JOB: &str = "
    SELECT domain, return_path, message_id, size, require_tls, require_tls_from, skip_verification,
        skip_verification_from, tls_fallback, tls_failure, tls_tag, tags, dkim, accepted_at, expires_at, copy_plan, tracking,
        EXISTS (SELECT 1 FROM notification WHERE message = ?1) AS is_notification,
        EXISTS (SELECT 1 FROM dsn WHERE message = ?1) AS has_dsn
    FROM message WHERE id = ?1";

impl Engine {
    pub(crate) async fn claim(&self, claim: Claim) -> Result<Vec<Job>, StoreError> {
        must_end_later(claim.now, claim.lease_until)?;
        if self.lines_are_old.load(Ordering::Relaxed) {
            self.release_leases().await?;
            self.lines_are_old.store(false, Ordering::Relaxed);
        }
        let jobs = self.writer.run_traffic(0, move |writing| Asked { writing, claim: &claim }.jobs()).await?;
        Ok(self.load(jobs).await)
    }

    pub(crate) async fn claim_overdue(&self, overdue: Overdue) -> Result<Vec<Job>, StoreError> {
        must_end_later(overdue.now, overdue.lease_until)?;
        self.writer.run_traffic(0, move |writing| claim_overdue(writing, &overdue)).await
    }
}

fn must_end_later(now: Timestamp, lease_until: Timestamp) -> Result<(), StoreError> {
    if lease_until > now { Ok(()) } else { Err(StoreError::Invalid("a lease must end after it begins".to_owned())) }
}

/// A claim in its transaction.
struct Asked<'a> {
    writing: &'a Writing<'a>,
    claim: &'a Claim,
}

/// A site that may have more.
struct Open {
    site: Site,
    is_prompt: bool,
    due_at: i64,
    room: usize,
    /// Its due destinations that may have more; the next one first.
    destinations: VecDeque<Waiting>,
}

/// A destination that may have more.
struct Waiting {
    name: Domain,
    room: usize,
    /// Who has waited longest, as far as was looked.
    oldest: VecDeque<(MessageId, RecipientId)>,
    /// There is nobody else.
    is_all: bool,
}

/// What a claim met and may not have yet.
#[derive(Default)]
struct Later {
    sites: Vec<(Site, Timestamp)>,
    destinations: Vec<(Domain, Timestamp)>,
    /// Destinations where nobody is due.
    nobody: Vec<Domain>,
    /// Destinations whose names are none.
    unreadable: Vec<String>,
}

impl Asked<'_> {
    /// In rounds: a job for each due site, then a second one for each, and so on; within a site likewise for its
    /// destinations. So no site and no destination, however much it has waiting, keeps another from its turn.
    fn jobs(&self) -> Result<Vec<Job>, StoreError> {
        let slow_limit = self.claim.slow_limit.min(self.claim.limit);
        let mut later = Later::default();
        let mut open = self.open_sites(true, self.claim.limit, &mut later)?;
        open.extend(self.open_sites(false, slow_limit, &mut later)?);
        open.sort_by_key(|site| site.due_at);
        self.put_off(&later)?;
        let (mut jobs, mut slow, mut touched) = (Vec::new(), 0, BTreeSet::new());
        while !open.is_empty() && jobs.len() < self.claim.limit {
            let mut with_more = Vec::new();
            for mut site in open {
                if jobs.len() == self.claim.limit {
                    break;
                }
                if !site.is_prompt && slow == slow_limit {
                    continue;
                }
                if let Some(job) = self.next_job(&mut site, &mut touched)? {
                    slow += usize::from(!site.is_prompt);
                    jobs.push(job);
                    with_more.push(site);
                }
            }
            open = with_more;
        }
        refresh(self.writing, touched.iter().map(Domain::as_str))?;
        Ok(jobs)
    }

    /// The due sites that may have more and have a destination that may, at most `most`.
    fn open_sites(&self, is_prompt: bool, most: usize, later: &mut Later) -> Result<Vec<Open>, StoreError> {
        let mut open = Vec::new();
        let now = self.claim.now;
        let mut select = self.writing.connection.prepare_cached(DUE_SITES)?;
        let mut rows = select.query(params![is_prompt, now.as_micros()])?;
        while open.len() < most
            && let Some(row) = rows.next()?
        {
            let (site, due_at) = (Site::named(get::<String>(row, "name")?), get(row, "due_at")?);
            let room = match self.claim.gate.site(&site, now) {
                Room::Jobs(0) => continue,
                Room::Jobs(room) => room,
                Room::NotBefore(until) => {
                    later.sites.push((site, until));
                    continue;
                }
            };
            let destinations = self.open_destinations(&site, room.min(self.claim.limit), later)?;
            if !destinations.is_empty() {
                open.push(Open { site, is_prompt, due_at, room, destinations });
            }
        }
        Ok(open)
    }

    /// The due destinations of a site that may have more, at most `most`, and how many jobs each may have.
    fn open_destinations(&self, site: &Site, most: usize, later: &mut Later) -> Result<VecDeque<Waiting>, StoreError> {
        let now = self.claim.now;
        let mut open = VecDeque::new();
        let mut select = self.writing.connection.prepare_cached(DUE_OF_SITE)?;
        let mut rows = select.query(params![site.as_str(), now.as_micros()])?;
        while open.len() < most
            && let Some(row) = rows.next()?
        {
            let Ok(name) = parsed::<Domain>(row, "name") else {
                later.unreadable.push(get(row, "name")?);
                continue;
            };
            match self.claim.gate.destination(&name, now) {
                Room::Jobs(0) => {}
                Room::Jobs(room) => {
                    let room = room.min(self.claim.limit);
                    let mut waiting = Waiting { name, room, oldest: VecDeque::new(), is_all: false };
                    // A line may be too early. It is put right, and hides nobody.
                    match self.oldest(&mut waiting)? {
                        Some(oldest) => {
                            waiting.oldest.push_front(oldest);
                            open.push_back(waiting);
                        }
                        None => later.nobody.push(waiting.name),
                    }
                }
                Room::NotBefore(until) => later.destinations.push((name, until)),
            }
        }
        Ok(open)
    }

    /// What is held back is made due later, so that nobody meets it again before.
    fn put_off(&self, later: &Later) -> Result<(), StoreError> {
        for (site, until) in &later.sites {
            hold_site(self.writing, site.as_str(), *until)?;
            refresh_site(self.writing, site.as_str())?;
        }
        for (name, until) in &later.destinations {
            hold_destination(self.writing, name.as_str(), *until)?;
        }
        refresh(
            self.writing,
            later.destinations.iter().map(|(name, _)| name).chain(&later.nobody).map(Domain::as_str),
        )?;
        later.unreadable.iter().try_for_each(|name| give_up_destination(self.writing, self.claim.now, name))
    }

    /// The next job of a site: from the destination whose turn it is, which then goes to the end.
    fn next_job(&self, site: &mut Open, touched: &mut BTreeSet<Domain>) -> Result<Option<Job>, StoreError> {
        if site.room == 0 {
            return Ok(None);
        }
        while let Some(mut waiting) = site.destinations.pop_front() {
            if !touched.contains(&waiting.name) {
                touched.insert(waiting.name.clone());
            }
            let Some(job) = self.job(site, &mut waiting)? else { continue };
            site.room -= 1;
            waiting.room -= 1;
            if waiting.room > 0 {
                site.destinations.push_back(waiting);
            }
            return Ok(Some(job));
        }
        Ok(None)
    }

    /// The next job for a destination. What cannot be read is given up, so that it holds up nobody else.
    fn job(&self, site: &Open, waiting: &mut Waiting) -> Result<Option<Job>, StoreError> {
        let now = self.claim.now;
        loop {
            let Some((message, first)) = self.oldest(waiting)? else { return Ok(None) };
            let recipients = self.lease(message, first, &waiting.name)?;
            let ids: Vec<RecipientId> = recipients.iter().map(|recipient| recipient.id).collect();
            if ids.is_empty() {
                continue;
            }
            match job_of(self.writing, message, &waiting.name, recipients) {
                Err(StoreError::Damaged(what)) => give_up(self.writing, now, &ids, &what)?,
                job => return Ok(job?.map(|job| Job { site: site.site.clone(), is_prompt: site.is_prompt, ..job })),
            }
        }
    }

    /// Who has waited longest at a destination and is not taken.
    fn oldest(&self, waiting: &mut Waiting) -> Result<Option<(MessageId, RecipientId)>, StoreError> {
        let name = waiting.name.as_str();
        loop {
            while let Some((message, recipient)) = waiting.oldest.pop_front() {
                if !self.writing.leases.borrow().holds(name, recipient, self.claim.now) {
                    return Ok(Some((message, recipient)));
                }
            }
            if waiting.is_all {
                return Ok(None);
            }
            // Those who are taken may all come first.
            let most = waiting.room + self.writing.leases.borrow().count(name);
            let mut select = self.writing.connection.prepare_cached(OLDEST_OF_DESTINATION)?;
            let values = params![name, self.claim.now.as_micros(), number(most as u64)];
            let found = select.query_map(values, |row| Ok((MessageId(row.get(0)?), RecipientId(row.get(1)?))))?;
            waiting.oldest = found.collect::<Result<_, _>>()?;
            waiting.is_all = waiting.oldest.len() < most;
        }
    }

    fn lease(
        &self,
        message: MessageId,
        first: RecipientId,
        destination: &Domain,
    ) -> Result<Vec<ClaimedRecipient>, StoreError> {
        let (connection, now, name) = (self.writing.connection, self.claim.now, destination.as_str());
        let is_individual = connection.prepare_cached(IS_INDIVIDUAL)?.query_row([message.0], |row| row.get(0));
        let (mut recipients, unreadable) = if is_individual.optional()?.unwrap_or(false) {
            claimed(connection.prepare_cached(ONE_OF_MESSAGE)?.query([first.0])?, |_| true)?
        } else {
            let mut select = connection.prepare_cached(DUE_OF_MESSAGE)?;
            let rows = select.query(params![message.0, name, now.as_micros()])?;
            claimed(rows, |id| !self.writing.leases.borrow().holds(name, id, now))?
        };
        give_up(self.writing, now, &unreadable, "unreadable recipient")?;
        recipients.truncate(RECIPIENTS_PER_JOB);
        for recipient in &recipients {
            queue::take(self.writing, name, recipient.id, self.claim.lease_until)?;
        }
        Ok(recipients)
    }
}

/// Of those that are free the recipients that can be read, and the numbers of those that cannot; of either at most as
/// many as one job has.
fn claimed(
    mut rows: Rows<'_>,
    is_free: impl Fn(RecipientId) -> bool,
) -> Result<(Vec<ClaimedRecipient>, Vec<RecipientId>), StoreError> {
    let (mut recipients, mut unreadable) = (Vec::new(), Vec::new());
    while recipients.len() < RECIPIENTS_PER_JOB
        && unreadable.len() < RECIPIENTS_PER_JOB
        && let Some(row) = rows.next()?
    {
        let id = RecipientId(get(row, "id")?);
        if !is_free(id) {
            continue;
        }
        match (parsed(row, "address"), get(row, "attempts")) {
            (Ok(address), Ok(attempts)) => {
                recipients.push(ClaimedRecipient { id, address, attempts, dsn: RcptDsn::default() });
            }
            _ => unreadable.push(id),
        }
    }
    Ok((recipients, unreadable))
}

fn claim_overdue(writing: &Writing<'_>, overdue: &Overdue) -> Result<Vec<Job>, StoreError> {
    let (name, site) = match &overdue.held {
        Held::Destination(name) => (Some(name.as_str()), None),
        Held::Site(site) => (None, Some(site.as_str())),
    };
    // Those who are taken may all come first.
    let most = |limit: usize| number((limit + writing.leases.borrow().total()) as u64);
    let now = overdue.now.as_micros();
    let mut expired = writing.connection.prepare_cached(EXPIRED)?;
    let rows = expired.query(params![now, name, site, most(overdue.limit)])?;
    let mut jobs = lease_each(writing, overdue, overdue.limit, rows)?;
    let destinations: Vec<String> = match site {
        None => name.map(str::to_owned).into_iter().collect(),
        Some(site) => writing
            .connection
            .prepare_cached(DESTINATIONS_OF_SITE)?
            .query_map([site], |row| row.get(0))?
            .collect::<Result<_, _>>()?,
    };
    let limits: Vec<i64> = overdue.due_before.iter().map(|time| time.as_micros()).collect();
    let (latest, by_attempts) = (limits.iter().max(), to_json(&limits)?);
    let mut select = writing.connection.prepare_cached(OVERDUE)?;
    for name in destinations {
        let left = overdue.limit.saturating_sub(jobs.len());
        if left == 0 {
            break;
        }
        let rows = select.query(params![name, latest, by_attempts, most(left)])?;
        jobs.extend(lease_each(writing, overdue, left, rows)?);
    }
    let touched: BTreeSet<&str> = jobs.iter().map(|job| job.destination.as_str()).collect();
    refresh(writing, touched)?;
    Ok(jobs)
}

fn lease_each(
    writing: &Writing<'_>,
    overdue: &Overdue,
    most: usize,
    mut rows: Rows<'_>,
) -> Result<Vec<Job>, StoreError> {
    let (mut found, mut unreadable) = (Vec::new(), Vec::new());
    while found.len() < most
        && let Some(row) = rows.next()?
    {
        let id = RecipientId(get(row, "id")?);
        if writing.leases.borrow().holds(&get::<String>(row, "destination")?, id, overdue.now) {
            continue;
        }
        match (parsed::<Domain>(row, "destination"), parsed(row, "address"), get(row, "attempts")) {
            (Ok(destination), Ok(address), Ok(attempts)) => {
                let recipient = ClaimedRecipient { id, address, attempts, dsn: RcptDsn::default() };
                found.push((MessageId(get(row, "message")?), destination, recipient));
            }
            _ => unreadable.push(id),
        }
    }
    drop(rows);
    give_up(writing, overdue.now, &unreadable, "unreadable recipient")?;
    let mut jobs = Vec::new();
    for (message, destination, recipient) in found {
        let id = recipient.id;
        queue::take(writing, destination.as_str(), id, overdue.lease_until)?;
        match job_of(writing, message, &destination, vec![recipient]) {
            Err(StoreError::Damaged(what)) => give_up(writing, overdue.now, &[id], &what)?,
            job => jobs.extend(job?),
        }
    }
    Ok(jobs)
}

fn job_of(
    writing: &Writing<'_>,
    message: MessageId,
    destination: &Domain,
    recipients: Vec<ClaimedRecipient>,
) -> Result<Option<Job>, StoreError> {
    let mut select = writing.connection.prepare_cached(JOB)?;
    let mut rows = select.query([message.0])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let mut recipients = recipients;
    let ids = recipients.iter().map(|recipient| recipient.id);
    let asked = if get(row, "has_dsn")? { dsn::asked(writing.connection, message, ids)? } else { None };
    let dsn = asked.map(|(mail, of_recipients)| {
        recipients.iter_mut().zip(of_recipients).for_each(|(recipient, asked)| recipient.dsn = asked);
        mail
    });
    Ok(Some(Job {
        message,
        domain: parsed(row, "domain")?,
        destination: destination.clone(),
        site: Site::unknown(destination),
        is_prompt: false,
        return_path: get(row, "return_path")?,
        message_id: get(row, "message_id")?,
        tls: resolved(row)?,
        tags: from_json(row, "tags")?,
        dkim: get(row, "dkim")?,
        size: get::<i64>(row, "size")?.unsigned_abs(),
        recipients,
        copy_plan: optional_json(row, "copy_plan")?,
        tracking: optional_json(row, "tracking")?,
        expires_at: optional_time(row, "expires_at")?,
        accepted_at: time(row, "accepted_at")?,
        dsn,
        is_notification: get(row, "is_notification")?,
        loaded: Loaded::default(),
    }))
}

/// What no gate limits, for tests and tools.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ungated;

impl Gate for Ungated {
    fn site(&self, _: &Site, _: Timestamp) -> Room {
        Room::Jobs(usize::MAX)
    }

    fn destination(&self, _: &Domain, _: Timestamp) -> Room {
        Room::Jobs(usize::MAX)
    }
}

impl Claim {
    /// A claim of everything that is due, whatever may run.
    pub fn all(now: Timestamp, lease_until: Timestamp, limit: usize) -> Claim {
        Claim { now, lease_until, limit, slow_limit: limit, gate: Arc::new(Ungated) }
    }
}
