//! Charts: bars of parts over time, drawn here, with the same numbers as a table for those who do not see them.

use maud::{Markup, html};

use super::parts::table;

/// Width and height of the drawing, in its own units; the page scales it.
const WIDTH: f64 = 620.0;
const HEIGHT: f64 = 200.0;
/// What is left of the bars for the scale, and below them for the times.
const LEFT: f64 = 52.0;
const BELOW: f64 = 22.0;
const ABOVE: f64 = 8.0;
/// Most labels below the bars.
const LABELS: usize = 8;

/// A part of every bar: the class of its colour, and its name.
pub(super) type Part = (&'static str, &'static str);

/// An hour, a day: what stands below its bar, and how many of each part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bar {
    /// The short name of the time.
    pub(super) label: String,
    /// The counts, in the order of the parts.
    pub(super) counts: Vec<u64>,
}

/// Bars of parts that stand on each other.
pub(super) fn stacked(caption: &str, parts: &[Part], bars: &[Bar]) -> Markup {
    let most = bars.iter().map(|bar| bar.counts.iter().sum()).max().unwrap_or(0);
    let top = ceiling(most);
    html! {
        figure.chart-box {
            figcaption.unseen { (caption) }
            ul.legend { @for (class, name) in parts { li { i class=(class) {} (name) } } }
            (drawing(caption, parts, bars, top))
            details {
                summary { "The same as a table" }
                (numbers(caption, parts, bars))
            }
        }
    }
}

fn drawing(caption: &str, parts: &[Part], bars: &[Bar], top: u64) -> Markup {
    let floor = HEIGHT - BELOW;
    let height = |count: u64| count as f64 / top as f64 * (floor - ABOVE);
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let every = bars.len().div_ceil(LABELS).max(1);
    html! {
        svg.chart viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(caption) {
            @for share in [0, 1, 2] {
                @let (count, y) = (top * share / 2, floor - (floor - ABOVE) * share as f64 / 2.0);
                line.axis x1=(LEFT) x2=(WIDTH) y1=(tenths(y)) y2=(tenths(y)) {}
                text x=(LEFT - 6.0) y=(tenths(y + 4.0)) text-anchor="end" { (count) }
            }
            @for (index, bar) in bars.iter().enumerate() {
                @let x = LEFT + step * index as f64;
                g {
                    title { (bar.label) @for ((_, name), count) in parts.iter().zip(&bar.counts) { ", " (name) ": " (count) } }
                    @for (part, (class, _)) in parts.iter().enumerate() {
                        @let count = bar.counts.get(part).copied().unwrap_or(0);
                        @let below: u64 = bar.counts.iter().take(part).sum();
                        @if count > 0 {
                            rect class=(class) x=(tenths(x + step * 0.12)) width=(tenths(step * 0.76))
                                y=(tenths(floor - height(below + count))) height=(tenths(height(count).max(1.0))) {}
                        }
                    }
                }
                @if index % every == 0 { text x=(tenths(x + step / 2.0)) y=(HEIGHT - 6.0) text-anchor="middle" { (bar.label) } }
            }
        }
    }
}

fn numbers(caption: &str, parts: &[Part], bars: &[Bar]) -> Markup {
    let heads: Vec<_> = std::iter::once("Time").chain(parts.iter().map(|(_, name)| *name)).collect();
    let rows = bars.iter().map(|bar| {
        let counts = bar.counts.iter().map(|count| html! { (count) });
        std::iter::once(html! { (bar.label) }).chain(counts).collect()
    });
    table(caption, &heads, rows)
}

/// Shares of a whole as one bar, for a row of a table. Nothing where there is no whole.
pub(super) fn shares(parts: &[Part], counts: &[u64]) -> Markup {
    let whole: u64 = counts.iter().sum();
    let told: Vec<_> =
        parts.iter().zip(counts).map(|((_, name), count)| format!("{name}: {}", percent(*count, whole))).collect();
    html! {
        @if whole > 0 {
            svg.chart.shares viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label=(told.join(", ")) {
                @for (part, (class, _)) in parts.iter().enumerate() {
                    @let below: u64 = counts.iter().take(part).sum();
                    @let count = counts.get(part).copied().unwrap_or(0);
                    @if count > 0 {
                        rect class=(class) x=(tenths(below as f64 / whole as f64 * 100.0))
                            width=(tenths(count as f64 / whole as f64 * 100.0)) y="0" height="10" {}
                    }
                }
            }
        }
    }
}

/// A share in words. What is not all and not nothing is never told as such.
pub(super) fn percent(count: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let share = count as f64 / whole as f64 * 100.0;
    match share {
        _ if count > 0 && share < 0.1 => "< 0.1 %".to_owned(),
        _ if count < whole && share > 99.9 => "> 99.9 %".to_owned(),
        _ if share == share.trunc() => format!("{share:.0} %"),
        _ => format!("{share:.1} %"),
    }
}

/// The least of 2, 4, 10, 20, 40, 100 … that is not below.
fn ceiling(count: u64) -> u64 {
    let mut power: u64 = 1;
    loop {
        for top in [2, 4, 10].map(|digit| power.saturating_mul(digit)) {
            if top >= count {
                return top;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        let tops = [0, 1, 2, 3, 5, 10, 11, 41, 99, 1234].map(ceiling);
        assert_eq!(tops, [2, 2, 2, 4, 10, 10, 20, 100, 100, 2000]);
        assert!(ceiling(u64::MAX) >= u64::MAX / 2);
    }

    #[test]
    fn shares_are_never_rounded_to_all_or_nothing() {
        let told =
            [(0, 0), (0, 5), (5, 5), (1, 3), (1, 10_000), (9_999, 10_000)].map(|(count, whole)| percent(count, whole));
        assert_eq!(told, ["–", "0 %", "100 %", "33.3 %", "< 0.1 %", "> 99.9 %"]);
    }

    #[test]
    fn a_chart_has_its_numbers_as_a_table() {
        let bars =
            [Bar { label: "Mon".to_owned(), counts: vec![3, 1] }, Bar { label: "Tue".to_owned(), counts: vec![0, 0] }];
        let html = stacked("Mail", &[("verified", "verified"), ("plaintext", "plaintext")], &bars).into_string();
        assert_eq!(html.matches("<rect").count(), 2, "nothing is drawn for nothing: {html}");
        assert_eq!(html.matches("<td").count(), 6);
    }
}
