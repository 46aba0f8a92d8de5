use weir_api::{ClusterInfo, Node, Page, PageQuery, SearchQuery, SearchResult, routes};

use crate::{Client, Result, transport::Call};

impl Client {
    /// Lists the nodes.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn nodes(&self, page: &PageQuery) -> Result<Page<Node>> {
        self.object(Call::get(routes::nodes()).query(page)).await
    }

    /// Reads one node.
    ///
    /// # Errors
    /// Fails with `not_found` when there is none.
    pub async fn node(&self, node: &str) -> Result<Node> {
        self.object(Call::get(routes::node(node))).await
    }

    /// Reads what the cluster is and how it is doing.
    ///
    /// # Errors
    /// Fails when no replica answers.
    pub async fn cluster(&self) -> Result<ClusterInfo> {
        self.object(Call::get(routes::cluster())).await
    }

    /// Finds objects by the start of their id.
    ///
    /// # Errors
    /// Fails when the cluster does.
    pub async fn search(&self, query: &SearchQuery) -> Result<SearchResult> {
        self.object(Call::get(routes::search()).query(query)).await
    }
}
