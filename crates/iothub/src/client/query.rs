use ha_wire::Twin;
use ha_wire::query::{
    HEADER_CONTINUATION, HEADER_ITEM_TYPE, HEADER_MAX_ITEM_COUNT, ItemType, PAGE_ITEMS_MAX, QueryRequest,
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::request::{Effect, Request};
use crate::{Call, Client, Error, Operation};

/// A hub that answers with more pages than this is going round in circles (a million twins are 10,000 pages).
const PAGES_MAX: usize = 20_000;

/// A query under way, page by page. Results may be minutes old: confirm by id what matters.
#[derive(Debug)]
pub struct Query {
    client: Client,
    text: String,
    page_items: u32,
    continuation: Option<String>,
    pages: usize,
    done: bool,
}

/// A page of results.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The items.
    pub items: Vec<Value>,
    /// What they are.
    pub item_type: Option<ItemType>,
}

impl Page {
    /// The items as `T`.
    pub fn decode<T: DeserializeOwned>(self) -> Result<Vec<T>, Error> {
        let bad = |error: serde_json::Error| Error::BadAnswer {
            what: "read a page of a query".to_owned(),
            reason: error.to_string(),
            outcome_unknown: false,
        };
        self.items.into_iter().map(|item| serde_json::from_value(item).map_err(bad)).collect()
    }
}

impl Client {
    /// Begins a query; nothing is sent before the first [`Query::next_page`].
    pub fn query(&self, text: impl Into<String>) -> Query {
        let (client, text) = (self.clone(), text.into());
        Query { client, text, page_items: PAGE_ITEMS_MAX, continuation: None, pages: 0, done: false }
    }

    /// Every twin a `SELECT * FROM devices…` finds. The call's deadline is for all pages together.
    pub async fn query_twins(&self, text: impl Into<String>, call: &Call) -> Result<Vec<Twin>, Error> {
        let mut query = self.query(text);
        let mut twins = Vec::new();
        while let Some(page) = query.next_page(call).await? {
            twins.extend(page.decode::<Twin>()?);
        }
        Ok(twins)
    }
}

impl Query {
    /// The same with smaller pages.
    pub fn page_items(mut self, items: u32) -> Self {
        self.page_items = items.clamp(1, PAGE_ITEMS_MAX);
        self
    }

    /// The next page, or `None` after the last. After an error the same page may be asked for again.
    pub async fn next_page(&mut self, call: &Call) -> Result<Option<Page>, Error> {
        if self.done {
            return Ok(None);
        }
        let mut request =
            Request::new("query twins".to_owned(), Operation::Query, Effect::Read, Method::POST, &["devices", "query"])
                .header(HEADER_MAX_ITEM_COUNT, self.page_items.to_string())
                .json(&QueryRequest { query: self.text.clone() });
        if let Some(continuation) = &self.continuation {
            request = request.header(HEADER_CONTINUATION, continuation);
        }
        let answer = self.client.send(&request, call).await?;
        let items = request.decode(&answer)?;
        let next = answer.header(HEADER_CONTINUATION).map(str::to_owned);
        self.pages += 1;
        if self.pages > PAGES_MAX || (next.is_some() && next == self.continuation) {
            return Err(request.bad_answer("its pages do not end"));
        }
        self.done = next.is_none();
        self.continuation = next;
        Ok(Some(Page { items, item_type: answer.header(HEADER_ITEM_TYPE).map(ItemType::from) }))
    }
}
