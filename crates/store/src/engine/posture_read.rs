//! Reading the counts: whole days where there are, hours at the ends.

use std::collections::HashMap;

use rusqlite::named_params;
use rusqlite::types::Value;

use super::Engine;
use super::posture::domains;
use super::row::{damaged, get, number, time, to_json};
use super::sql::{Connection, Row};
use crate::StoreError;
use crate::posture::{
    Count, Ending, KeptBack, Period, Posture, PosturePage, PostureQuery, Protected, Seen, Span, Way, WhatIf,
    WhatIfQuery,
};

/// Most hosts that are told for one destination. A recipient's DNS may name a new one for every message.
const HOSTS: i64 = 20;
/// Most reasons that are told for one destination of a [`WhatIf`].
const REASONS: i64 = 50;

/// The rows of a period: the hours before its first whole day, its whole days, the hours after the last. CROSS JOIN is
/// SQLite's word for "in this order": each sending domain's part of the primary key.
const ROWS: &str = "
    rows AS (
        SELECT p.* FROM json_each(:domains) AS d CROSS JOIN tls_posture AS p ON p.domain = d.value
        WHERE p.span = 'hour' AND p.start >= :begin AND p.start < :first_day
        UNION ALL
        SELECT p.* FROM json_each(:domains) AS d CROSS JOIN tls_posture AS p ON p.domain = d.value
        WHERE p.span = 'day' AND p.start >= :first_day AND p.start < :last_day
        UNION ALL
        SELECT p.* FROM json_each(:domains) AS d CROSS JOIN tls_posture AS p ON p.domain = d.value
        WHERE p.span = 'hour' AND p.start >= :last_day AND p.start < :end
    )";

const SUMS: &str = "sum(recipients) AS recipients, sum(messages) AS messages, min(first_at) AS first_at,
    max(last_at) AS last_at";

/// The rows of the pairs of a page: `[[domain, destination], …]`.
const OF_PAGE: &str =
    "(domain, destination) IN (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:pairs))";

const WAY: &str = "ending, protected, observed, by_dane, by_mta_sts, version, key_exchange, reason";

impl Engine {
    pub(crate) async fn posture(&self, query: PostureQuery) -> Result<PosturePage, StoreError> {
        self.readers.run(move |connection| page(connection, &query)).await
    }

    pub(crate) async fn what_if(&self, query: WhatIfQuery) -> Result<WhatIf, StoreError> {
        self.readers.run(move |connection| what_if(connection, &query)).await
    }
}

/// A query's range as it is bound.
struct Range {
    domains: String,
    begin: i64,
    first_day: i64,
    last_day: i64,
    end: i64,
}

impl Range {
    fn new(
        connection: &Connection,
        domain: Option<&smtp::Domain>,
        period: Period,
        hours: bool,
    ) -> Result<Range, StoreError> {
        let domains = match domain {
            Some(domain) => vec![domain.as_str().to_owned()],
            None => domains(connection)?,
        };
        let Period { begin, end } = Period::covering(period.begin, period.end);
        let end = end.max(begin);
        // Where hours are told apart, or no day is whole, everything is hours.
        let (first_day, last_day) = (Span::Day.end(begin), Span::Day.start(end));
        let (first_day, last_day) = if hours || first_day > last_day { (end, end) } else { (first_day, last_day) };
        Ok(Range {
            domains: to_json(&domains)?,
            begin: begin.as_micros(),
            first_day: first_day.as_micros(),
            last_day: last_day.as_micros(),
            end: end.as_micros(),
        })
    }

    /// Binds the range and what else the statement names, and reads each row.
    fn each<T>(
        &self,
        connection: &Connection,
        sql: &str,
        more: &[(&str, Value)],
        read: impl Fn(Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut select = connection.prepare_cached(sql)?;
        let range = named_params! {
            ":domains": self.domains,
            ":begin": self.begin,
            ":first_day": self.first_day,
            ":last_day": self.last_day,
            ":end": self.end,
        };
        let more = more.iter().map(|(name, value)| (*name, value as &dyn rusqlite::ToSql));
        let named: Vec<_> = range.iter().copied().chain(more).filter(|(name, _)| select.names(name)).collect();
        let mut rows = select.query(&named[..])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

type Pair = (String, String);

/// The pairs with the most attempts, and how many pairs there are.
pub(super) fn pairs_sql() -> String {
    format!(
        "WITH {ROWS} SELECT domain, destination, sum(recipients) AS volume, count(*) OVER () AS total FROM rows
        WHERE destination = :destination OR :destination IS NULL
        GROUP BY domain, destination ORDER BY volume DESC, destination, domain LIMIT :limit OFFSET :skip"
    )
}

fn page(connection: &Connection, query: &PostureQuery) -> Result<PosturePage, StoreError> {
    let hours = query.resolution == Some(Span::Hour);
    let range = Range::new(connection, query.domain.as_ref(), query.period, hours)?;
    let destination = query.destination.as_ref().map(|name| name.as_str().to_owned());
    let named = [
        (":destination", Value::from(destination)),
        (":limit", Value::from(number(query.limit as u64))),
        (":skip", Value::from(number(query.skip as u64))),
    ];
    let mut total = 0;
    let found = range.each(connection, &pairs_sql(), &named, |row| Ok((pair(row)?, get::<i64>(row, "total")?)))?;
    let mut items = Vec::with_capacity(found.len());
    for ((domain, destination), of) in found {
        total = of.unsigned_abs();
        let (ways, hosts, over_time) = (Vec::new(), Vec::new(), Vec::new());
        items.push(Posture { domain, destination, ways, hosts, over_time });
    }
    let mut page = Page::new(items)?;
    page.fill(connection, &range, query.resolution)?;
    Ok(PosturePage { total, items: page.items })
}

/// The pairs of a page, being filled.
struct Page {
    items: Vec<Posture>,
    places: HashMap<Pair, usize>,
    pairs: String,
}

impl Page {
    fn new(items: Vec<Posture>) -> Result<Page, StoreError> {
        let pairs: Vec<Pair> = items.iter().map(|item| (item.domain.clone(), item.destination.clone())).collect();
        let json = to_json(&pairs)?;
        Ok(Page { items, places: pairs.into_iter().zip(0..).collect(), pairs: json })
    }

    fn fill(&mut self, connection: &Connection, range: &Range, resolution: Option<Span>) -> Result<(), StoreError> {
        if self.items.is_empty() {
            return Ok(());
        }
        let named = [(":pairs", Value::from(self.pairs.clone())), (":hosts", Value::from(HOSTS))];
        let ways = format!(
            "WITH {ROWS} SELECT domain, destination, {WAY}, {SUMS} FROM rows WHERE {OF_PAGE}
            GROUP BY domain, destination, {WAY} ORDER BY recipients DESC"
        );
        for (pair, found) in range.each(connection, &ways, &named, |row| Ok((pair(row)?, (way(row)?, count(row)?))))? {
            self.at(&pair, |item| item.ways.push(found));
        }
        let hosts = format!(
            "WITH {ROWS}, hosts AS (SELECT domain, destination, mx_host, {SUMS},
                row_number() OVER (PARTITION BY domain, destination ORDER BY sum(recipients) DESC) AS place
                FROM rows WHERE {OF_PAGE} AND mx_host <> '' GROUP BY domain, destination, mx_host)
            SELECT * FROM hosts WHERE place <= :hosts ORDER BY place"
        );
        let host = |row: Row<'_>| Ok((pair(row)?, (get(row, "mx_host")?, count(row)?)));
        for (pair, found) in range.each(connection, &hosts, &named, host)? {
            self.at(&pair, |item| item.hosts.push(found));
        }
        let Some(span) = resolution else { return Ok(()) };
        // Time is told apart by what people chart: not by every version and reason.
        let over_time = format!(
            "WITH {ROWS} SELECT domain, destination, start - start % :length AS since, ending, protected, '' AS observed,
                by_dane, by_mta_sts, '' AS version, '' AS key_exchange, '' AS reason, {SUMS}
            FROM rows WHERE {OF_PAGE}
            GROUP BY domain, destination, since, ending, protected, by_dane, by_mta_sts ORDER BY since"
        );
        let length = Value::from(span.length().as_micros() as i64);
        let named = [(":pairs", Value::from(self.pairs.clone())), (":length", length)];
        let part = |row: Row<'_>| Ok((pair(row)?, (time(row, "since")?, way(row)?, count(row)?)));
        for (pair, found) in range.each(connection, &over_time, &named, part)? {
            self.at(&pair, |item| item.over_time.push(found));
        }
        Ok(())
    }

    fn at(&mut self, pair: &Pair, put: impl FnOnce(&mut Posture)) {
        if let Some(place) = self.places.get(pair) {
            put(&mut self.items[*place]);
        }
    }
}

fn what_if(connection: &Connection, query: &WhatIfQuery) -> Result<WhatIf, StoreError> {
    let range = Range::new(connection, query.domain.as_ref(), query.period, false)?;
    let words: Vec<&str> = query.kept_back_by.iter().map(|observed| observed.as_str()).collect();
    let words = Value::from(to_json(&words)?);
    let kept_back = "observed IN (SELECT value FROM json_each(:words))";
    let sql = format!(
        "WITH {ROWS} SELECT CASE WHEN {kept_back} THEN 'kept_back' WHEN observed = '' THEN 'unknown'
            ELSE 'delivered' END AS what, {SUMS}
        FROM rows WHERE ending = 'delivered' GROUP BY what"
    );
    let named = [(":words", words.clone())];
    let mut answer = WhatIf::default();
    for (what, count) in range.each(connection, &sql, &named, |row| Ok((get::<String>(row, "what")?, count(row)?)))? {
        match what.as_str() {
            "kept_back" => answer.kept_back = Some(count),
            "unknown" => answer.unknown = Some(count),
            _ => answer.delivered = Some(count),
        }
    }
    let sql = format!(
        "WITH {ROWS}, sums AS (SELECT domain, destination, sum(recipients) FILTER (WHERE {kept_back}) AS recipients,
            sum(messages) FILTER (WHERE {kept_back}) AS messages, min(first_at) FILTER (WHERE {kept_back}) AS first_at,
            max(last_at) FILTER (WHERE {kept_back}) AS last_at, coalesce(sum(recipients) FILTER
            (WHERE NOT ({kept_back}) AND observed <> ''), 0) AS delivered
            FROM rows WHERE ending = 'delivered' GROUP BY domain, destination)
        SELECT *, count(*) OVER () AS total FROM sums WHERE recipients > 0
        ORDER BY recipients DESC, destination, domain LIMIT :limit OFFSET :skip"
    );
    let limits = [
        (":words", words.clone()),
        (":limit", Value::from(number(query.limit as u64))),
        (":skip", Value::from(number(query.skip as u64))),
    ];
    let item = |row: Row<'_>| {
        let (domain, destination) = pair(row)?;
        let delivered = get::<i64>(row, "delivered")?.unsigned_abs();
        let item = KeptBack { domain, destination, because: Vec::new(), kept_back: count(row)?, delivered };
        Ok((item, get::<i64>(row, "total")?))
    };
    for (item, total) in range.each(connection, &sql, &limits, item)? {
        answer.total = total.unsigned_abs();
        answer.items.push(item);
    }
    add_reasons(connection, &range, words, kept_back, &mut answer.items)?;
    Ok(answer)
}

fn add_reasons(
    connection: &Connection,
    range: &Range,
    words: Value,
    kept_back: &str,
    items: &mut [KeptBack],
) -> Result<(), StoreError> {
    if items.is_empty() {
        return Ok(());
    }
    let pairs: Vec<Pair> = items.iter().map(|item| (item.domain.clone(), item.destination.clone())).collect();
    let sql = format!(
        "WITH {ROWS}, reasons AS (SELECT domain, destination, observed, reason, mx_host, {SUMS},
            row_number() OVER (PARTITION BY domain, destination ORDER BY sum(recipients) DESC) AS place
            FROM rows WHERE {OF_PAGE} AND ending = 'delivered' AND {kept_back}
            GROUP BY domain, destination, observed, reason, mx_host)
        SELECT * FROM reasons WHERE place <= :reasons ORDER BY place"
    );
    let named = [(":words", words), (":pairs", Value::from(to_json(&pairs)?)), (":reasons", Value::from(REASONS))];
    let places: HashMap<Pair, usize> = pairs.into_iter().zip(0..).collect();
    let reason = |row: Row<'_>| {
        let observed = seen(row)?.and_then(Seen::observed).ok_or_else(|| damaged("observed"))?;
        Ok((pair(row)?, (observed, get(row, "reason")?, get(row, "mx_host")?, count(row)?)))
    };
    for (pair, found) in range.each(connection, &sql, &named, reason)? {
        if let Some(place) = places.get(&pair) {
            items[*place].because.push(found);
        }
    }
    Ok(())
}

fn pair(row: Row<'_>) -> Result<Pair, StoreError> {
    Ok((get(row, "domain")?, get(row, "destination")?))
}

fn seen(row: Row<'_>) -> Result<Option<Seen>, StoreError> {
    let word: String = get(row, "observed")?;
    Ok(policy::tls::Observed::from_word(&word).map(Seen::from))
}

fn way(row: Row<'_>) -> Result<Way, StoreError> {
    let ending: String = get(row, "ending")?;
    let protected: String = get(row, "protected")?;
    Ok(Way {
        ending: Ending::from_word(&ending).ok_or_else(|| damaged("ending"))?,
        protected: Protected::from_word(&protected),
        observed: seen(row)?,
        by_dane: get(row, "by_dane")?,
        by_mta_sts: get(row, "by_mta_sts")?,
        version: get(row, "version")?,
        key_exchange: get(row, "key_exchange")?,
        reason: get(row, "reason")?,
    })
}

fn count(row: Row<'_>) -> Result<Count, StoreError> {
    Ok(Count {
        recipients: get::<i64>(row, "recipients")?.unsigned_abs(),
        messages: get::<i64>(row, "messages")?.unsigned_abs(),
        first_at: time(row, "first_at")?,
        last_at: time(row, "last_at")?,
    })
}
