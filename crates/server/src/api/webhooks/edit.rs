//! Changes of webhooks, as functions from the list that there is to the one that shall be.

use store::Timestamp;
use store::webhook::{Subject, Subscription};

use super::word;
use crate::api::http::error::ApiError;
use crate::api::limits::WEBHOOK_URLS;

/// Why a list is not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// The subject has URLs already, or the URL is there already.
    Exists,
    /// There is nothing to change.
    NotFound,
    /// A subject would have too many URLs.
    TooMany(Subject),
}

/// In the words of domains' webhooks.
impl From<Refused> for ApiError {
    fn from(refused: Refused) -> ApiError {
        match refused {
            Refused::NotFound => ApiError::not_found("Webhook not found"),
            Refused::Exists => ApiError::bad_request("Webhook already exists").told_as("Reason"),
            Refused::TooMany(subject) => {
                let text = format!("'{}' may have {WEBHOOK_URLS} URLs", word(subject));
                ApiError::bad_request(text).told_as("Reason")
            }
        }
    }
}

type Edited = Result<Vec<String>, Refused>;

/// A subject that nobody is told of is told to these URLs.
pub(super) fn create(all: &mut Vec<Subscription>, subject: Subject, urls: &[String], now: Timestamp) -> Edited {
    match urls_of(all, subject).is_empty() {
        true => set(all, subject, urls, now),
        false => Err(Refused::Exists),
    }
}

/// A subject that somebody is told of is told to these URLs instead.
pub(super) fn replace(all: &mut Vec<Subscription>, subject: Subject, urls: &[String], now: Timestamp) -> Edited {
    remove(all, subject)?;
    set(all, subject, urls, now)
}

/// Nobody is told of a subject any more. Says who was.
pub(super) fn remove(all: &mut [Subscription], subject: Subject) -> Edited {
    let urls = urls_of(all, subject);
    if urls.is_empty() {
        return Err(Refused::NotFound);
    }
    all.iter_mut().for_each(|one| one.subjects.retain(|its| *its != subject));
    Ok(urls)
}

/// Those who are told of a subject.
pub(super) fn urls_of(all: &[Subscription], subject: Subject) -> Vec<String> {
    all.iter().filter(|one| one.subjects.contains(&subject)).map(|one| one.url.clone()).collect()
}

fn set(all: &mut Vec<Subscription>, subject: Subject, urls: &[String], now: Timestamp) -> Edited {
    urls.iter().for_each(|url| at(all, url, now).add(subject));
    few_enough(all)?;
    Ok(urls_of(all, subject))
}

/// A URL is told of these subjects too.
pub(super) fn add_url(
    all: &mut Vec<Subscription>,
    url: &str,
    subjects: &[Subject],
    now: Timestamp,
) -> Result<(), Refused> {
    let subscription = at(all, url, now);
    subjects.iter().for_each(|subject| subscription.add(*subject));
    few_enough(all)
}

/// A URL that is told of something is told of these subjects instead.
pub(super) fn set_url(all: &mut [Subscription], url: &str, subjects: &[Subject]) -> Result<(), Refused> {
    let one = all.iter_mut().find(|one| one.url == url).ok_or(Refused::NotFound)?;
    one.subjects.clear();
    subjects.iter().for_each(|subject| one.add(*subject));
    few_enough(all)
}

/// These URLs are told of nothing any more; each of them must have been.
pub(super) fn remove_urls(all: &mut Vec<Subscription>, urls: &[String]) -> Result<(), Refused> {
    if urls.iter().any(|url| all.iter().all(|one| one.url != *url)) {
        return Err(Refused::NotFound);
    }
    all.retain(|one| !urls.contains(&one.url));
    Ok(())
}

/// The account's webhook of a URL that has none. Says its name.
pub(super) fn add_to_account(all: &mut Vec<Subscription>, new: Subscription) -> Result<String, Refused> {
    if all.iter().any(|one| one.url == new.url) {
        return Err(Refused::Exists);
    }
    let key = new.key.clone();
    all.push(new);
    few_enough(all)?;
    Ok(key)
}

/// What a webhook of the account shall be from now on; its name and its time stay, and so does what is not given.
pub(super) fn change_in_account(
    all: &mut [Subscription],
    key: &str,
    url: &str,
    subjects: &[Subject],
    description: Option<&str>,
) -> Result<(), Refused> {
    if all.iter().any(|one| one.url == url && one.key != key) {
        return Err(Refused::Exists);
    }
    let one = all.iter_mut().find(|one| one.key == key).ok_or(Refused::NotFound)?;
    one.url = url.to_owned();
    one.description = description.map_or_else(|| one.description.clone(), str::to_owned);
    one.subjects.clear();
    subjects.iter().for_each(|subject| one.add(*subject));
    few_enough(all)
}

/// The webhook of a URL, made if there is none.
fn at<'a>(all: &'a mut Vec<Subscription>, url: &str, now: Timestamp) -> &'a mut Subscription {
    let index = all.iter().position(|one| one.url == url).unwrap_or_else(|| {
        all.push(Subscription::new(url, now));
        all.len() - 1
    });
    &mut all[index]
}

fn few_enough(all: &[Subscription]) -> Result<(), Refused> {
    let too_many = |subject: &Subject| urls_of(all, *subject).len() > WEBHOOK_URLS;
    Subject::ALL.into_iter().find(too_many).map_or(Ok(()), |subject| Err(Refused::TooMany(subject)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(0);

    fn urls(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("https://{name}.test/")).collect()
    }

    #[test]
    fn by_subject_and_by_url_are_two_views_of_one_list() {
        let (delivered, opened) = (Subject::Delivered, Subject::Opened);
        let mut all = Vec::new();
        assert_eq!(create(&mut all, delivered, &urls(&["a", "b"]), NOW), Ok(urls(&["a", "b"])));
        assert_eq!(create(&mut all, delivered, &urls(&["c"]), NOW), Err(Refused::Exists));
        assert_eq!(create(&mut all, opened, &urls(&["b"]), NOW), Ok(urls(&["b"])));
        assert_eq!(all.len(), 2);
        assert_eq!(all[1].subjects, [delivered, opened]);

        assert_eq!(set_url(&mut all, "https://b.test/", &[opened]), Ok(()));
        assert_eq!(urls_of(&all, delivered), urls(&["a"]));
        assert_eq!(replace(&mut all, delivered, &urls(&["d", "a"]), NOW), Ok(urls(&["a", "d"])));
        assert_eq!(remove(&mut all, Subject::Clicked), Err(Refused::NotFound));
        assert_eq!(remove(&mut all, delivered), Ok(urls(&["a", "d"])));
        assert_eq!(remove_urls(&mut all, &urls(&["b", "x"])), Err(Refused::NotFound));
        assert_eq!(remove_urls(&mut all, &urls(&["b"])), Ok(()));
        assert!(all.iter().all(|one| one.subjects.is_empty()));
    }

    #[test]
    fn a_subject_has_three_urls_at_most() {
        let mut all = Vec::new();
        create(&mut all, Subject::Opened, &urls(&["a", "b", "c"]), NOW).unwrap();
        let fourth = add_url(&mut all, "https://d.test/", &[Subject::Clicked, Subject::Opened], NOW);
        assert_eq!(fourth, Err(Refused::TooMany(Subject::Opened)));
        assert_eq!(add_url(&mut Vec::new(), "https://d.test/", &[Subject::Clicked], NOW), Ok(()));
    }

    #[test]
    fn the_account_has_one_webhook_for_a_url() {
        let mut all = Vec::new();
        let mut new = Subscription::new("https://a.test/", NOW);
        new.add(Subject::Opened);
        let key = add_to_account(&mut all, new.clone()).unwrap();
        assert_eq!(add_to_account(&mut all, new), Err(Refused::Exists));
        assert_eq!(
            change_in_account(&mut all, "x", "https://b.test/", &[Subject::Opened], None),
            Err(Refused::NotFound)
        );
        assert_eq!(change_in_account(&mut all, &key, "https://b.test/", &[Subject::Clicked], Some("why")), Ok(()));
        assert_eq!((all[0].url.as_str(), all[0].description.as_str()), ("https://b.test/", "why"));
    }
}
