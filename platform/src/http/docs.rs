//! `/openapi.json`, and `/docs` to browse it; the page's assets are inside the binary.

use actix_web::web::ServiceConfig;
use utoipa::openapi::OpenApi;
use utoipa_swagger_ui::SwaggerUi;

/// Mounts the document and its page.
pub fn mount_docs(config: &mut ServiceConfig, openapi: OpenApi) {
    config.route("/docs", actix_web::web::get().to(to_page));
    config.service(SwaggerUi::new("/docs/{_:.*}").url("/openapi.json", openapi));
}

/// The page's own links are relative to `/docs/`.
async fn to_page() -> actix_web::HttpResponse {
    actix_web::HttpResponse::PermanentRedirect()
        .insert_header(("Location", "/docs/"))
        .finish()
}
