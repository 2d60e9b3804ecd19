//! One receiver and very many deliveries, as one instance of the function gets them: new ones, repeated ones, forged ones
//! and ones whose body is no JSON. Whether its memory stays as it is, and whether each answer is right.

use std::collections::BTreeMap;

use gemhook::clock::{Clock, SystemClock};
use lambda_runtime::{Context, LambdaEvent};

use crate::{
    child::{self, Addresses},
    growth::{event, tables},
};

const DELIVERIES: u64 = 200_000;
const TENTH: u64 = DELIVERIES / 10;

pub async fn measure() {
    let (_database, dynamodb) = tables().await;
    println!("{}", child::run(vec!["deliveries".to_owned(), dynamodb, String::new(), String::new()]).await);
}

/// The child.
pub async fn deliver(addresses: &Addresses) {
    let (receiver, sign) = child::receiver(addresses);
    let (mut answers, mut memory) = (BTreeMap::<_, u64>::new(), Vec::new());
    for number in 0..DELIVERIES {
        let kind = number % 10;
        // The repeated ones come three deliveries after the new ones that they repeat.
        let id = if (3..6).contains(&kind) { number - 3 } else { number };
        let mut event = event(&format!("load-{id}"), &sign);
        let expected = match kind {
            0..6 => 200,
            6..9 => {
                event["headers"]["webhook-signature"] = sign("another id", 0, b"another body").into();
                401
            }
            _ => {
                event["body"] = "no JSON".into();
                let (id, at) = (format!("load-{id}"), SystemClock.now() / 1000);
                event["headers"]["webhook-timestamp"] = at.to_string().into();
                event["headers"]["webhook-signature"] = sign(&id, at, b"no JSON").into();
                200
            }
        };
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
