use super::*;
use crate::api::limits::{EXPRESSION_OCTETS, QUERY_OCTETS};

/// Reads a page as the store would, from the timestamps of all events.
fn read(page: &Page, all: &[i64]) -> Vec<i64> {
    let query = page.query("example.com".parse().ok()).unwrap();
    let begin = query.begin.map_or(i64::MIN, Timestamp::as_micros);
    let end = query.end.map_or(i64::MAX, Timestamp::as_micros);
    let mut found: Vec<i64> = all.iter().copied().filter(|at| (begin..end).contains(at)).collect();
    if query.direction == Direction::Descending {
        found.reverse();
    }
    found.truncate(query.limit);
    page.order(found)
}

fn next(page: &Page, found: &[i64]) -> Page {
    Page::from_token(&page.next(found.last().copied()).token()).unwrap()
}

fn previous(page: &Page, found: &[i64]) -> Page {
    Page::from_token(&page.previous(found.first().copied()).token()).unwrap()
}

#[test]
fn pages_lead_through_the_list_and_back_in_both_directions() {
    for (query, list) in
        [("limit=2&ascending=yes", [vec![1, 2], vec![3, 4], vec![5]]), ("limit=2", [vec![5, 4], vec![3, 2], vec![1]])]
    {
        let all = [1, 2, 3, 4, 5];
        let first = Page::parse(query).unwrap();
        let mut page = first.clone();
        for expected in &list {
            assert_eq!(&read(&page, &all), expected);
            page = next(&page, expected);
        }
        assert_eq!(read(&page, &all), [0; 0]);
        // From the empty page behind the end back to the beginning.
        let mut back = previous(&page, &[]);
        let mut seen = Vec::new();
        loop {
            let found = read(&back, &all);
            if found.is_empty() {
                break;
            }
            back = previous(&back, &found);
            seen.splice(0..0, found);
        }
        assert_eq!(seen, list.concat());
        assert_eq!(read(&back.first(), &all), list[0]);
        assert_eq!(read(&first.last(), &all), list.concat()[3..]);
    }
}

#[test]
fn the_same_next_page_polled_later_has_what_came_in_between() {
    let page = Page::parse("limit=2&ascending=yes").unwrap();
    let end = next(&page, &read(&page, &[1, 2]));
    assert_eq!(read(&end, &[1, 2]), [0; 0]);
    let again = next(&end, &[]);
    assert_eq!(again, end);
    assert_eq!(read(&again, &[1, 2, 3]), [3]);
    // Newest first: new events do not disturb those who walk towards the old ones.
    let page = Page::parse("limit=2").unwrap();
    let second = next(&page, &read(&page, &[1, 2, 3]));
    assert_eq!(read(&second, &[1, 2, 3, 4, 5]), [1]);
    assert_eq!(read(&previous(&page, &[3, 2]), &[1, 2, 3, 4, 5]), [5, 4]);
}

#[test]
fn begin_and_end_fix_range_and_direction() {
    let all: Vec<i64> = (0..10).map(|second| second * 1_000_000).collect();
    for (query, seconds) in [
        ("begin=2&end=5", vec![2, 3, 4]),
        ("begin=5&end=2", vec![5, 4, 3]),
        ("begin=2&end=5&ascending=yes", vec![2, 3, 4]),
        ("begin=7&ascending=yes", vec![7, 8, 9]),
        ("begin=2&ascending=no", vec![2, 1, 0]),
        ("end=7", vec![9, 8]),
        ("end=2&ascending=yes", vec![0, 1]),
        ("begin=7.5&ascending=yes", vec![8, 9]),
        ("begin=Thu,%2001%20Jan%201970%2000:00:08%20GMT&ascending=yes", vec![8, 9]),
        ("begin=3&end=3", vec![]),
    ] {
        let seconds: Vec<i64> = seconds.into_iter().map(|second: i64| second * 1_000_000).collect();
        assert_eq!(read(&Page::parse(query).unwrap(), &all), seconds, "{query}");
    }
}

#[test]
fn bad_queries_are_refused() {
    for (query, message) in [
        ("begin=2", "'ascending' is required when 'begin' is given without 'end'"),
        ("begin=2&end=5&ascending=no", "'ascending' contradicts the order of 'begin' and 'end'"),
        ("begin=5&end=2&ascending=yes", "'ascending' contradicts the order of 'begin' and 'end'"),
        ("begin=now&ascending=yes", "'begin' is neither an RFC 2822 date nor Unix seconds"),
        ("end=2011-10-13", "'end' is neither an RFC 2822 date nor Unix seconds"),
        ("ascending=up", "'ascending' must be one of: yes, no, true, false"),
        ("limit=0", "'limit' must be a number from 1 to 300"),
        ("limit=301", "'limit' must be a number from 1 to 300"),
        ("limit=x", "'limit' must be a number from 1 to 300"),
        ("limit=1&limit=2", "'limit' is given more than once, with different values"),
        ("certificate_verified=no", "'certificate_verified' is not a parameter"),
        ("event=failed&event=accepted", "'event' is given more than once; use OR or AND"),
    ] {
        assert_eq!(Page::parse(query).unwrap_err().message(), message, "{query}");
    }
}

#[test]
fn every_query_has_tokens_that_can_be_read() {
    let value = "\\\"".repeat(EXPRESSION_OCTETS / 2 - 10);
    let query = format!("subject=\"{value}\"&from=\"{value}\"&to=\"{value}\"&attachment=\"{value}\"&begin=1&end=9");
    assert!(query.len() <= QUERY_OCTETS);
    let page = Page::parse(&query).unwrap();
    assert_eq!(Page::from_token(&page.last().token()).unwrap(), page.last());
}

#[test]
fn bad_tokens_are_refused() {
    let encode = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let long = "A".repeat(TOKEN_OCTETS + 1);
    for token in [
        "x".to_owned(),
        "!!!".to_owned(),
        encode("{}"),
        encode("[2,true,null,null,100,null,false,[]]"),
        encode("[1,true,null,null,301,null,false,[]]"),
        encode("[1,true,null,null,0,null,false,[]]"),
        encode("[1,true,null,null,100,1.5,false,[]]"),
        encode("[1,true,null,null,100,null,false,[],\"other.example\"]"),
        encode("[1,true,null,null,100,null,false,[[\"to\",\"a\"],[\"to\",\"b\"]]]"),
        long,
    ] {
        assert_eq!(Page::from_token(&token).unwrap_err().message(), "the page token is not valid", "{token}");
    }
    let foreign_filter = encode("[1,true,null,null,100,null,false,[[\"domain\",\"other.example\"]]]");
    let page = Page::from_token(&foreign_filter).unwrap();
    let error = page.query("example.com".parse().ok()).unwrap_err();
    assert_eq!(error.message(), "'domain' is not a filter");
    let edges = encode(&format!("[1,true,{},{},100,{},true,[]]", i64::MIN, i64::MAX, i64::MAX));
    let page = Page::from_token(&edges).unwrap();
    assert_eq!(page.next(Some(i64::MAX)).place, Some(i64::MAX));
}
