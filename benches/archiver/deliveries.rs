//! One receiver and very many deliveries, as one instance of the function gets them: new ones, repeated ones, forged ones
//! and ones whose body is no JSON. Whether its memory stays as it is, and whether each answer is right.

use std::collections::BTreeMap;

use lambda_runtime::{Context, LambdaEvent};

use crate::{
    child,
    growth::{body, event, tables},
};

const DELIVERIES: u64 = 200_000;
const TENTH: u64 = DELIVERIES / 10;

pub async fn measure() {
    let (_database, dynamodb) = tables().await;
    println!("{}", child::run(vec!["deliver".to_owned(), dynamodb]).await);
}

/// The child.
pub async fn deliver(dynamodb: &str) {
    let (receiver, sign) = child::receiver(dynamodb);
    let (mut answers, mut memory) = (BTreeMap::<_, u64>::new(), Vec::new());
    for number in 0..DELIVERIES {
        let kind = number % 10;
        // A repeated one comes three deliveries after the new one that it repeats.
        let id = format!("load-{}", if (3..6).contains(&kind) { number - 3 } else { number });
        let body = if kind == 9 { "no JSON".to_owned() } else { body(&id) };
        let mut event = event(&id, body, &sign);
        let is_forged = (6..9).contains(&kind);
        if is_forged {
            event["headers"]["webhook-signature"] = sign("another id", 0, b"another body").into();
        }
        let expected = if is_forged { 401 } else { 200 };
        let answer = receiver.invoke(LambdaEvent::new(event, Context::default())).await.unwrap();
        assert_eq!(answer.status_code, expected, "delivery {number}");
        *answers.entry(answer.status_code).or_default() += 1;
        if (number + 1) % TENTH == 0 {
            memory.push(child::memory("VmRSS") / 1024);
        }
    }
    println!(
        "answers by status {answers:?}; memory {memory:?} MiB, one tenth of the deliveries after the other"
    );
}
