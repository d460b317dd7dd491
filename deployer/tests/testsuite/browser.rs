//! The page as a person uses it, in a headless Chromium: log in, write posts, add pictures, see their labels, delete
//! posts.

use std::path::Path;

use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::{DUSK, LAKE, MEADOW, landscape};

use crate::support::{
    Project,
    cloud::{KEYS, connect, notification_is_in_force},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_user_writes_posts_with_pictures_and_deletes_one() {
    let project = Project::postagram();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let [lake, meadow, dusk] = ["lake é.jpg", "meadow.jpg", "dusk.jpg"].map(|name| folder.path().join(name));
    for (file, colours) in [(&lake, LAKE), (&meadow, MEADOW), (&dusk, DUSK)] {
        landscape(file, &colours);
    }

    let up = project.done(&["up", "--local", "--yes"]);
    let url = up.output("URL");
    let aws = connect(&project.endpoint(), KEYS).await;
    notification_is_in_force(&aws, &up.output("BUCKET")).await;
    let page = Browser::chromium().await;
    page.open(&url).await;
    page.until("an empty page", "document.querySelector('#empty:not([hidden])')").await;

    // Logs in with a name, which survives every header unchanged.
    page.click("#enter").await;
    page.keys("#login-name", "Zoé").await;
    page.click("#login-form [type=submit]").await;
    page.until("the user", "!document.querySelector('#me').hidden").await;

    // A picture is added with the post, or later; labels appear without a reload.
    let first = publish(&page, "Blue hour", "The lake, <b>just</b> before the boats go out.", Some(&lake)).await;
    labelled(&page, &first).await;
    assert_eq!(page.text(&format!("{first} .author .name")).await, "Zoé");
    assert_eq!(page.text(&format!("{first} .text")).await, "The lake, <b>just</b> before the boats go out.");
    let second = publish(&page, "Up on the meadow", "Not a cloud, and nobody but us.", None).await;
    page.keys(&format!("{second} input[type=file]"), &meadow.to_string_lossy()).await;
    labelled(&page, &second).await;
    let third = publish(&page, "Home before dark", "The last light of a long day.", Some(&dusk)).await;
    labelled(&page, &third).await;
    let all = json!(["Home before dark", "Up on the meadow", "Blue hour"]);
    assert_eq!(titles(&page).await, all);

    screenshot(&page, "postagram-phone.png", 390, 844).await;
    screenshot(&page, "postagram-desktop.png", 1200, 900).await;
    // The pictures in docs/ are different ones: they are made by the service's own tests.

    // A deletion can be undone, and is permanent after that; the other posts stay.
    page.click(&format!("{third} .delete")).await;
    page.click(".gone .undo").await;
    assert_eq!(titles(&page).await, all);
    page.click(&format!("{third} .delete")).await;
    page.click(".gone .dismiss").await;
    page.until("the end of the deletion", "!document.querySelector('.gone')").await;
    page.until("the post to go", &format!("!document.querySelector(\"{third}\")")).await;
    page.open(&url).await;
    page.until("the list", "document.querySelector('#posts[aria-busy=false] article.post')").await;
    assert_eq!(titles(&page).await, json!(["Up on the meadow", "Blue hour"]));

    assert_eq!(page.complaints().await, Vec::<String>::new());
}

/// The posts' titles, from the top.
async fn titles(page: &Browser) -> Value {
    page.value("[...document.querySelectorAll('#posts article.post h2')].map((h) => h.textContent)").await
}

/// Writes a post, and returns a selector for it.
async fn publish(page: &Browser, title: &str, body: &str, picture: Option<&Path>) -> String {
    page.click("#new").await;
    page.until("the form", "document.querySelector('#compose').open").await;
    page.keys("#post-title", title).await;
    page.keys("#post-body", body).await;
    if let Some(picture) = picture {
        page.keys("#post-file", &picture.to_string_lossy()).await;
        page.until("the preview", "document.querySelector('#post-preview img')?.naturalWidth").await;
    }
    page.click("#post-form [type=submit]").await;
    let find = "return [...document.querySelectorAll('article.post')]
        .find((post) => post.querySelector('h2').textContent === arguments[0])?.dataset.id";
    let id = page
        .eventually("the new post", async || {
            let id = page.script(find, json!([title])).await;
            id.as_str().map(str::to_owned)
        })
        .await;
    format!("article.post[data-id='{id}']")
}

/// Waits, without touching the page, until a post has labels and shows its picture from the bucket.
async fn labelled(page: &Browser, post: &str) {
    page.until("labels", &format!("document.querySelector(\"{post} .labels li\")")).await;
    let loaded = format!("document.querySelector(\"{post} .picture img[src^='http']\")?.naturalWidth > 0");
    page.until("the picture", &loaded).await;
}

/// Takes a screenshot of the page in a viewport of this size, once all animations have ended.
async fn screenshot(page: &Browser, name: &str, width: u32, height: u32) {
    // Not the window's size: a window is never as narrow as a phone.
    let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
    page.devtools("Emulation.setDeviceMetricsOverride", size).await;
    page.script("scrollTo(0, 0)", json!([])).await;
    page.until("a quiet page", "!document.getAnimations().length").await;
    let overflow = page.value("document.documentElement.scrollWidth - innerWidth").await;
    assert!(overflow.as_i64() <= Some(0), "{name}: the page is {overflow} pixels wider than its window");
    page.screenshot(name).await;
}
