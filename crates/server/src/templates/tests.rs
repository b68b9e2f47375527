//! Templates, and what they may cost.

use serde_json::json;

use super::*;

fn html(source: &str, variables: Value) -> Result<String, TemplateError> {
    render(source, variables.as_object().unwrap(), Escape::Html)
}

#[test]
fn templates_say_what_handlebars_js_says() {
    let variables = json!({
        "name": "Ann & <Bob> \"'`=", "n": 7, "yes": true, "no": false, "none": null, "empty": [],
        "list": [{ "x": 1 }, { "x": 2 }], "deep": { "a": { "b": "c" } }, "map": { "z": 1, "a": 2 },
    });
    for (source, expected) in [
        ("Hi {{name}}", "Hi Ann &amp; &lt;Bob&gt; &quot;&#x27;&#x60;&#x3D;"),
        ("Hi {{{name}}} {{&name}}", "Hi Ann & <Bob> \"'`= Ann & <Bob> \"'`="),
        ("{{n}}|{{none}}|{{unknown}}|{{unknown.deeper}}", "7|||"),
        ("{{deep.a.b}} {{#with deep.a}}{{b}}{{/with}}", "c c"),
        ("{{#each list}}{{@index}}:{{x}}{{#unless @last}}, {{/unless}}{{/each}}", "0:1, 1:2"),
        ("{{#each list}}{{x}}{{../n}}{{/each}}", "1727"),
        ("{{#each map}}{{@key}}={{this}};{{/each}}", "z=1;a=2;"),
        ("{{#each list as |item i|}}{{i}}{{item.x}}{{/each}}", "0112"),
        ("{{#each empty}}x{{else}}none{{/each}}", "none"),
        ("{{#if yes}}a{{else}}b{{/if}}{{#if no}}a{{else if n}}c{{else}}b{{/if}}", "ac"),
        ("{{#unless no}}a{{/unless}}{{#if unknown}}x{{/if}}{{#if empty}}x{{/if}}", "a"),
        ("{{#equal n 7}}seven{{else}}other{{/equal}} {{#equal deep.a.b \"d\"}}d{{else}}not d{{/equal}}", "seven not d"),
        ("{{lookup map \"a\"}}{{! nothing }}{{!-- {{nothing}} --}}", "2"),
        ("a  {{~n~}}  b \\{{n}}", "a7b {{n}}"),
        ("%recipient.name% {{__step}}", "%recipient.name% "),
        ("", ""),
    ] {
        assert_eq!(html(source, variables.clone()).as_deref(), Ok(expected), "{source}");
    }
    let plain = render("{{name}}", variables.as_object().unwrap(), Escape::None);
    assert_eq!(plain.unwrap(), "Ann & <Bob> \"'`=");
}

#[test]
fn a_dot_a_length_a_block_of_a_variable_and_text_are_as_in_handlebars_js() {
    let variables = json!({
        "list": ["a", ["b", null, 2.0], { "x": 1 }, true], "none": [], "yes": true, "no": false, "zero": 0, "text": "ä🐦",
        "rows": [{ "x": 1, "y": [5, 6] }, { "x": 2, "y": [] }], "deep": { "a": { "length": 9 } }, "length": "own",
        "it's": "quoted", "price": 10.50, "round": 1e20, "tiny": 1e-6, "zeros": -0.0, "huge": u64::MAX, "exact": 0.1,
    });
    for (source, expected) in [
        ("{{#each list}}{{.}};{{/each}}", "a;b,,2;[object Object];true;"),
        ("{{#with text}}{{ . }}{{{.}}}{{&.}}{{~.~}}{{#if .}}x{{/if}}{{/with}}", "ä🐦ä🐦ä🐦ä🐦x"),
        ("{{lookup . \"length\"}} {{#each rows}}{{#if (lookup . \"x\")}}{{@index}} {{/if}}{{/each}}", "own 0 1 "),
        // Dots that are something else.
        ("a . b { . } {{! . }} {{!-- }} . --}} \\{{ . }} . {{[it's]}} . '", "a . b { . }   {{ . }} . quoted . '"),
        (
            "{{#equal \" . \" ' . '}}same{{/equal}}{{! don't }}{{#with yes}}{{.}}{{/with}} don't . {{!-- {{.}} --}}",
            "sametrue don't . ",
        ),
        (
            "{{list.length}} {{none.length}} {{text.length}} {{deep.a.length}} {{length}} {{zero.length}}",
            "4 0 3 9 own ",
        ),
        (
            "{{#if none.length}}some{{else}}none{{/if}}{{#if list.length}}some{{/if}}{{#each rows}}{{y.length}}{{/each}}",
            "nonesome20",
        ),
        ("{{#equal list.length 4}}four{{/equal}}{{#with list}}{{this.length}}{{/with}}", "four4"),
        (
            "{{#rows}}{{@index}}:{{x}}{{#y}}({{this}}{{../x}}){{/y}}{{#unless @last}},{{/unless}}{{/rows}}",
            "0:1(51)(61),1:2",
        ),
        (
            "{{#none}}x{{else}}none{{/none}}{{#gone}}x{{^}}gone{{/gone}}{{#no}}x{{/no}}{{#yes}}{{zero}}{{/yes}}",
            "nonegone0",
        ),
        ("{{#zero}}[{{.}}]{{/zero}}{{#deep}}{{#a}}{{length}}{{/a}}{{/deep}}{{#text}}{{.}}{{/text}}", "[0]9ä🐦"),
        ("{{list}}|{{{deep}}}|{{none}}", "a,b,,2,[object Object],true|[object Object]|"),
        (
            "{{price}} {{round}} {{tiny}} {{zeros}} {{huge}}",
            "10.5 100000000000000000000 0.000001 0 18446744073709551615",
        ),
    ] {
        assert_eq!(html(source, variables.clone()).as_deref(), Ok(expected), "{source}");
    }
    // Whatever stands there, it ends.
    for source in ["{{.", "{{ '. }}", "{{[.", "{{#each .", "{{{.}}"] {
        assert!(matches!(check(source), Err(TemplateError::Syntax(_))), "{source}: {:?}", check(source));
    }
    assert!(matches!(html("{{#rows 1}}{{/rows}}", variables), Err(TemplateError::Render(_))));
}

#[test]
fn what_is_no_template_is_refused_in_words() {
    for source in ["{{#if x}}", "{{/if}}", "{{#if x}}{{/each}}", "{{", "{{x", "{{}}"] {
        let error = check(source).unwrap_err();
        assert!(matches!(error, TemplateError::Syntax(_)), "{source}: {error:?}");
    }
    for source in
        ["{{> other}}", "{{#> other}}{{/other}}", "{{#if x}}{{> other}}{{/if}}", "{{#each x}}{{else}}{{>y}}{{/each}}"]
    {
        assert_eq!(check(source), Err(TemplateError::Partial), "{source}");
    }
    for source in ["{{* inline}}", "{{#*inline \"x\"}}{{/inline}}"] {
        assert_eq!(check(source), Err(TemplateError::Partial), "{source}");
    }
    assert_eq!(check(&"x".repeat(TEMPLATE_OCTETS + 1)), Err(TemplateError::TooLong));
    for source in [
        "{{nohelper 1}}",
        "{{log \"x\"}}",
        "{{#nohelper x}}{{/nohelper}}",
        "{{#equal 1}}{{/equal}}",
        "{{#each}}{{/each}}",
    ] {
        assert!(
            matches!(html(source, json!({})), Err(TemplateError::Render(_))),
            "{source}: {:?}",
            html(source, json!({}))
        );
    }
}

#[test]
fn nothing_is_nested_without_end() {
    let times = |text: &str, n: usize| text.repeat(n);
    for (source, levels) in [
        (times("{{#if a}}", 60_000 / 9), 50),
        (format!("{}{}", times("{{#if a}}", 51), times("{{/if}}", 51)), 50),
        (format!("{{{{#if a}}}}{}{{{{/if}}}}", times("{{else if b}}x", 5_000)), 50),
        (times("{{ ~ #if a}}", 5_000), 50),
        (times("{{^a}}", 5_000), 50),
        (format!("{{{{x {}", times("(a ", 20_000)), 16),
        (format!("{{{{x {}", times("[", 20_000)), 16),
        (format!("{{{{#each {}1{}}}}}{{{{/each}}}}", times("[", 17), times("]", 17)), 16),
    ] {
        assert_eq!(check(&source), Err(TemplateError::TooDeep(levels)), "{}", &source[..60]);
    }
    let deep = format!("{}x{}", times("{{#if a}}", 50), times("{{/if}}", 50));
    assert_eq!(html(&deep, json!({ "a": 1 })).unwrap(), "x");
}

#[test]
fn a_template_bomb_ends_with_an_error() {
    let list: Vec<u8> = vec![1; 8000];
    let loops = "{{#each a}}{{#each ../a}}{{#each ../../a}}{{#each ../../../a}}{{/each}}{{/each}}{{/each}}{{/each}}";
    let started = Instant::now();
    assert_eq!(html(loops, json!({ "a": list })), Err(TemplateError::TooSlow));
    let sections = json!({ "a": vec![json!({ "b": list }); 100] });
    assert_eq!(html("{{#a}}{{#b}}{{/b}}{{/a}}", sections), Err(TemplateError::TooSlow));
    let twice = "{{#each a}}{{#each @root.a}}{{/each}}{{else}}{{#each a}}{{/each}}{{/each}}";
    assert_eq!(html(twice, json!({ "a": list })), Err(TemplateError::TooSlow));
    let long = format!("{{{{#each a}}}}{}{{{{/each}}}}", "x".repeat(90_000));
    assert_eq!(html(&long, json!({ "a": list })), Err(TemplateError::TooMuch));
    // Far from what it would take without a bound.
    assert!(started.elapsed() < Duration::from_secs(60));
    // What people send is nowhere near.
    let rows = "{{#each a}}<tr>{{#if this}}<td>{{this}}</td>{{/if}}</tr>{{/each}}";
    assert!(html(rows, json!({ "a": list })).is_ok());
}
