//! How much happened to the messages of a tag, by the recipients' domains: read from the events themselves, since counts
//! are not kept by two things at once.

use rusqlite::types::Value;
use smtp::Domain;

use super::Engine;
use super::event::matching;
use super::row::{get, number};
use super::traffic::protected;
use crate::traffic::{ROWS, TrafficCount, What};
use crate::{Direction, EventQuery, Field, Filter, StoreError};

impl Engine {
    pub(crate) async fn traffic_of_tag(&self, domain: &Domain, tag: &str) -> Result<Vec<TrafficCount>, StoreError> {
        let query = EventQuery {
            domain: Some(domain.clone()),
            begin: None,
            end: None,
            direction: Direction::Ascending,
            after: None,
            limit: ROWS,
            filter: Filter::Is(Field::Tag, tag.to_owned()),
        };
        let domain = domain.to_string();
        self.readers
            .run(move |connection| {
                let (from, mut values) = matching(&query);
                values.push(Value::Integer(number(query.limit as u64)));
                let sql = format!(
                    "SELECT substr(event.recipient, instr(event.recipient, '@') + 1) AS destination, kind,
                        coalesce(severity, '') AS severity, coalesce(reason, '') AS reason, tls, certificate_verified,
                        coalesce(attempt_no, 0) = 1 AS first_attempt, count(*) AS events
                     {from} GROUP BY 1, 2, 3, 4, 5, 6, 7 LIMIT ?"
                );
                let mut select = connection.prepare_cached(&sql)?;
                let mut rows = select.query(values)?;
                let mut counts = Vec::new();
                while let Some(row) = rows.next()? {
                    let kind: String = get(row, "kind")?;
                    let channel = get::<Option<bool>>(row, "tls")?.zip(get(row, "certificate_verified")?);
                    let what = What {
                        protected: protected(kind == crate::EventKind::Delivered.as_str(), channel).to_owned(),
                        kind,
                        severity: get(row, "severity")?,
                        reason: get(row, "reason")?,
                        first_attempt: get(row, "first_attempt")?,
                    };
                    // A quoted local part may have an @ of its own.
                    let destination: String = get(row, "destination")?;
                    let value = destination.rsplit('@').next().unwrap_or_default().to_owned();
                    let count = get::<i64>(row, "events")?.unsigned_abs();
                    counts.push(TrafficCount { domain: domain.clone(), value, start: None, what, count });
                }
                Ok(counts)
            })
            .await
    }
}
