//! What judging a statement costs: processor time and allocations, for texts that are remembered, for texts of which only the
//! template is, and for texts that are parsed.
//!
//! Each figure is the least of twelve batches of the thread's processor time. Prints a table in Markdown.

mod allocations;

use std::hint::black_box;

use gatekeeper::testing::sql::{Classification, Classifier, ClassifierOptions, LexicalSettings, SchemaInfo};
use rustix::time::{ClockId, clock_gettime};

const BATCHES: u32 = 12;
const HOT: u64 = 20_000;
const COLD: u64 = 300;

/// Texts by name; `{}` stands for a literal that is another one each time.
const TEXTS: &[(&str, &str)] = &[
    ("select by key, parameter", "SELECT abalance FROM pgbench_accounts WHERE aid = $1"),
    ("select by key, literal", "SELECT abalance FROM pgbench_accounts WHERE aid = {}"),
    (
        "100 bytes, parameters",
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = $1 LIMIT 9",
    ),
    (
        "100 bytes, literals",
        "SELECT o.id, o.total, c.name FROM orders o JOIN customers c ON c.id = o.customer WHERE o.id = {} LIMIT 9",
    ),
    (
        "an ORM's query, literals",
        "SELECT \"u\".\"id\" AS \"t0_r0\", \"u\".\"email\" AS \"t0_r1\", \"p\".\"id\" AS \"t1_r0\", \"p\".\"title\" AS \"t1_r1\" \
         FROM \"users\" \"u\" LEFT OUTER JOIN \"posts\" \"p\" ON \"p\".\"user_id\" = \"u\".\"id\" WHERE \"u\".\"active\" = true \
         AND \"u\".\"created_at\" > '2026-01-01' AND \"p\".\"state\" IN ('a', 'b', 'c') AND \"u\".\"id\" > {} \
         ORDER BY \"u\".\"created_at\" DESC LIMIT 25 OFFSET 50 /* app:shop */",
    ),
    ("insert, literals", "INSERT INTO pgbench_history (tid, bid, aid, delta) VALUES (1, 2, {}, 4)"),
    ("begin", "BEGIN"),
];

fn main() {
    let knowledge = SchemaInfo::assumed();
    let meaning = LexicalSettings::default();
    println!(
        "| statement | bytes | remembered, ns | new literals, ns | parsed, ns | allocations: remembered | new literals | parsed |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: |");
    for (name, text) in TEXTS {
        let varied = text.contains("{}");
        let texts: Vec<String> =
            (0..HOT).map(|number| text.replace("{}", &(100_000 + number).to_string())).collect();
        let classifier = Classifier::new(&ClassifierOptions::default());
        let ask = |classifier: &Classifier, text: &str| -> Classification {
            classifier.classify(black_box(text.as_bytes()), &meaning, &knowledge)
        };
        ask(&classifier, &texts[0]);
        let same = measure(HOT, |_| ask(&classifier, &texts[0]));
        let new = varied.then(|| measure(HOT, |number| ask(&classifier, &texts[number as usize])));
        let options = ClassifierOptions { memory: 0, ..ClassifierOptions::default() };
        let forgetful = Classifier::new(&options);
        let parsed = measure(COLD, |number| ask(&forgetful, &texts[number as usize]));
        let show = |figure: Option<f64>| figure.map_or("–".to_owned(), |figure| format!("{figure:.0}"));
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            texts[0].len(),
            show(Some(same.0)),
            show(new.map(|new| new.0)),
            show(Some(parsed.0)),
            show(Some(same.1)),
            show(new.map(|new| new.1)),
            show(Some(parsed.1)),
        );
    }
}

/// Nanoseconds and allocations of one call: the least of several batches.
fn measure<T>(times: u64, mut call: impl FnMut(u64) -> T) -> (f64, f64) {
    let (mut least, mut fewest) = (f64::MAX, f64::MAX);
    for _ in 0..BATCHES {
        let (began, allocated) = (nanoseconds(), allocations::count());
        for number in 0..times {
            black_box(call(number));
        }
        #[expect(clippy::cast_precision_loss, reason = "far from the limits of f64")]
        let per_call = |total: u64| total as f64 / times as f64;
        least = least.min(per_call(nanoseconds() - began));
        fewest = fewest.min(per_call(allocations::count() - allocated));
    }
    (least, fewest)
}

/// The thread's processor time.
fn nanoseconds() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}
