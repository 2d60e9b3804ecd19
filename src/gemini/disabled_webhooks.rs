//! Webhooks that Gemini has disabled because deliveries failed, and enabling one again.
//!
//! The list is used for two decisions: reconcile reports and enables a disabled webhook of ours, and an attempt checks
//! whether the API key is of the project that our webhook belongs to.

use serde::Deserialize;
use serde_json::json;

use super::{Gemini, broken};
use crate::error::ProcessingError;

/// The state of a webhook that Gemini has disabled itself.
const DISABLED: &str = "disabled_due_to_failed_deliveries";
const MAX_PAGE_BYTES: u64 = 8 * 1024 * 1024;
const MAX_PAGES: usize = 100;

/// A registered webhook: the members that are used here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub uri: String,
    #[serde(default)]
    pub state: String,
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    webhooks: Vec<Webhook>,
    next_page_token: Option<String>,
}

impl Webhook {
    pub fn is_disabled(&self) -> bool {
        self.state == DISABLED
    }

    /// Whether it delivers to this address. A slash at the end makes no difference.
    pub fn is_at(&self, url: &str) -> bool {
        self.uri.trim_end_matches('/') == url.trim_end_matches('/')
    }
}

impl Gemini {
    /// All webhooks of the key's project. None where the API is an older one without webhooks (404).
    pub async fn webhooks(&self) -> Result<Option<Vec<Webhook>>, ProcessingError> {
        let (mut all, mut token) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let mut query = vec![("page_size", "1000")];
            query.extend(token.as_deref().map(|token| ("page_token", token)));
            let page: Page = match self.read("list webhooks", "webhooks", &query, MAX_PAGE_BYTES).await {
                Err(ProcessingError::NotFound(_)) => return Ok(None),
                page => page?,
            };
            all.extend(page.webhooks);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        Ok(Some(all))
    }

    /// Enables a webhook again. Every error is transient: the next reconcile tries again.
    pub async fn enable_webhook(&self, webhook: &Webhook) -> Result<(), ProcessingError> {
        let doing = "switch the webhook on";
        let key = self.key().await?;
        // The API ignores `update_mask` and applies exactly the fields of the body.
        let url = self.url(&format!("webhooks/{}", webhook.id));
        let request = self.http.patch(url).header("x-goog-api-key", key.expose());
        let request = request
            .header("content-type", "application/json")
            .body(json!({ "state": "enabled" }).to_string());
        let answer = self.send(request).await.map_err(|error| broken(doing, &error))?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(ProcessingError::transient(format!("{doing}: Gemini answered {}", answer.status().as_u16())))
    }
}
