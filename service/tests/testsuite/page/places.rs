//! Places: posts, authors, labels and pictures have addresses, to share and to come back to.

use serde_json::{Value, json};
use testkit::browser::Browser;
use testkit::landscape::{DUSK, LAKE};

use super::visit::{ESCAPE, SEED, Seed, TAB, Visit, in_both_browsers};
use crate::support::front::Answer;

/// Three posts by two authors: with a tall picture, with a wide one, and without.
async fn seed(visit: &Visit) {
    for (name, colours) in [("lake.jpg", LAKE), ("dusk.jpg", DUSK)] {
        visit.store(name, &colours).await;
    }
    let picture = |name: &str, labels: &'static [&'static str]| Some((format!("{name}.jpg"), labels));
    visit
        .service
        .seed(&[
            Seed { user: "a/b#?&+%", title: "Words only", minutes_ago: 9000, ..SEED },
            Seed { title: "Wide", minutes_ago: 90, picture: picture("lake", &["Lake", "Sky"]), alt: "A lake", ..SEED },
            Seed {
                title: "Tall",
                minutes_ago: 9,
                picture: picture("dusk", &["Sunset", "Sky"]),
                size: "400x900",
                ..SEED
            },
        ])
        .await;
}

in_both_browsers!(posts_authors_and_labels_have_addresses, follows_links);

async fn follows_links(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open().await;
    let all = ["Tall", "Wide", "Words only"];
    visit.titles_are(&all).await;

    // The time of a post is the link to it, with the full date.
    let wide = visit.post("Wide").await;
    let id = page.value(&format!("document.querySelector(\"{wide}\").dataset.id")).await;
    let full = page.value(&format!("document.querySelector(\"{wide} .when\").title")).await;
    assert!(full.as_str().is_some_and(|date| date.contains("20") && date.contains(':')), "{full}");
    page.click(&format!("{wide} .when")).await;
    visit.titles_are(&["Wide"]).await;
    assert_eq!(visit.path().await, format!("/@Ada/{}", id.as_str().unwrap()));
    assert_eq!(page.value("document.title").await, "Wide · Postagram");
    visit.is_sound_everywhere("a post").await;

    // Its author has a page with a grid, and each tile is a link.
    page.click("article.post .author").await;
    visit.until("the grid", "document.querySelectorAll('#posts.grid a.tile').length === 2").await;
    assert_eq!(visit.path().await, "/@Ada");
    assert_eq!(page.text("#heading").await, "Ada");
    assert_eq!(page.text("#profile-count").await, "2 posts");
    visit.is_sound_everywhere("an author").await;
    page.click("a.tile").await;
    visit.titles_are(&["Tall"]).await;

    // A label is a filter.
    page.click(".labels li:last-child a").await;
    visit.titles_are(&["Tall", "Wide"]).await;
    assert_eq!(visit.path().await, "/labels/sky");
    assert_eq!((page.text("#heading").await, page.text(".labels a").await), ("#sky".to_owned(), "#sunset".to_owned()));
    visit.is_sound_everywhere("a label").await;

    // Back and forward pass every place again.
    for (path, titles) in [("/@Ada/", &["Tall"][..]), ("/@Ada", &[]), ("/@Ada/", &["Wide"]), ("/", &all)] {
        visit.back().await;
        visit.until(path, &format!("location.pathname.startsWith({})", json!(path))).await;
        visit.titles_are(titles).await;
    }
    page.script("history.go(4)", json!([])).await;
    visit.until("the label", "location.pathname === '/labels/sky'").await;
    visit.titles_are(&["Tall", "Wide"]).await;

    // The service serves these addresses, too.
    visit.page.open(&format!("{}/labels/sunset", visit.front.url)).await;
    visit.titles_are(&["Tall"]).await;
    visit.page.open(&format!("{}/@Ada/{}", visit.front.url, id.as_str().unwrap())).await;
    visit.titles_are(&["Wide"]).await;

    // Whatever is in a name.
    visit.open().await;
    page.click(&format!("{} .author", visit.post("Words only").await)).await;
    visit.until("the grid", "document.querySelectorAll('a.tile').length === 1").await;
    assert_eq!(visit.path().await, "/@a%2Fb%23%3F%26%2B%25");
    visit.reload().await;
    visit.until("the grid", "document.querySelectorAll('a.tile').length === 1").await;
    page.click("a.tile").await;
    visit.titles_are(&["Words only"]).await;
    visit.reload().await;
    visit.titles_are(&["Words only"]).await;
    visit.end().await;
}

in_both_browsers!(an_address_without_anything_has_our_design, finds_nothing);

async fn finds_nothing(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "Somewhere").await;
    for path in ["/nowhere", "/@Ada/018f2f6e-0000-7000-8000-00000000000a", "/@Ada/nonsense"] {
        page.open(&format!("{}{path}", visit.front.url)).await;
        visit.text_is("#empty:not([hidden]) .empty-text", "There is nothing here.").await;
    }
    visit.is_sound_everywhere("nothing").await;
    page.click("#empty-home").await;
    visit.titles_are(&["Somewhere"]).await;
    visit.end_having_seen(&[404]).await;
}

in_both_browsers!(a_picture_is_cropped_in_the_list_and_whole_when_it_is_opened, opens_pictures);

async fn opens_pictures(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open_as("Ada").await;
    let (tall, wide) = (visit.post("Tall").await, visit.post("Wide").await);
    let ratio = async |post: &str| {
        let box_of = format!("document.querySelector(\"{post} .picture\").getBoundingClientRect()");
        page.value(&format!("{box_of}.width / {box_of}.height")).await.as_f64().unwrap()
    };
    assert!((ratio(&tall).await - 0.8).abs() < 0.01, "4 to 5");
    assert!((ratio(&wide).await - 1.6).abs() < 0.01, "as it is");

    page.click(&format!("{tall} .picture")).await;
    let shows = |key: &str| {
        format!(
            "document.querySelector('#lightbox').open && document.querySelector('#lightbox-image').src.includes('{key}') && document.querySelector('#lightbox-image').naturalWidth"
        )
    };
    visit.until("the picture", &shows("dusk.jpg")).await;
    let fit = "getComputedStyle(document.querySelector('#lightbox-image')).objectFit";
    assert_eq!(page.value(fit).await, "contain");
    visit.is_sound_everywhere("an open picture").await;

    // With the keyboard: to the next one and back, and not beyond the ends.
    page.press("\u{e014}").await;
    visit.until("the next picture", &shows("lake.jpg")).await;
    assert_eq!(page.value("document.querySelector('#lightbox-image').alt").await, "A lake");
    page.press("\u{e014}").await;
    page.press("\u{e012}").await;
    visit.until("the picture before", &shows("dusk.jpg")).await;
    page.press(&ESCAPE.to_string()).await;
    let closed = "!document.querySelector('#lightbox').open && !history.state.box";
    visit.until("the list", closed).await;
    visit.focus_is(&format!("{tall} .picture")).await;

    // By swiping, and going back closes it.
    page.click(&format!("{tall} .picture")).await;
    visit.until("the picture", &shows("dusk.jpg")).await;
    // The picture follows the finger, and slides back if the way was too short.
    let watch = "window.ways = [];
        const image = document.querySelector('#lightbox-image');
        new MutationObserver(() => ways.push(image.style.translate)).observe(image, { attributeFilter: ['style'] })";
    page.script(watch, json!([])).await;
    swipe(page, -30, 0).await;
    visit.until("its way", "ways.some((way) => way.startsWith('-30px')) && ways.at(-1) === ''").await;
    visit.until("the same picture", &shows("dusk.jpg")).await;
    swipe(page, -200, 0).await;
    visit.until("the next picture", &shows("lake.jpg")).await;
    visit.back().await;
    visit.until("the list", closed).await;
    visit.titles_are(&["Tall", "Wide", "Words only"]).await;
    page.click(&format!("{wide} .picture")).await;
    visit.until("the picture", &shows("lake.jpg")).await;
    swipe(page, 0, 200).await;
    visit.until("the list", closed).await;

    // While the picture is zoomed, one finger moves it.
    page.click(&format!("{tall} .picture")).await;
    visit.until("the picture", &shows("dusk.jpg")).await;
    let touch = "getComputedStyle(document.querySelector('#lightbox-stage')).touchAction";
    visit.until("the start", &format!("{touch} === 'pinch-zoom'")).await;
    page.zoom(2).await;
    // Two words for the same.
    let moves = format!("['manipulation', 'pan-x pan-y pinch-zoom'].includes({touch})");
    visit.until("the zoom", &format!("visualViewport.scale > 1.5 && {moves}")).await;
    page.zoom(1).await;
    visit.until("the end of the zoom", &format!("visualViewport.scale === 1 && {touch} === 'pinch-zoom'")).await;
    visit.back().await;
    visit.until("the list", closed).await;

    // A link in the picture's caption takes its place in the history.
    page.click(&format!("{wide} .picture")).await;
    visit.until("the picture", &shows("lake.jpg")).await;
    page.click("#lightbox-caption .author").await;
    visit.until("the grid", "document.querySelectorAll('a.tile').length === 2").await;
    visit.back().await;
    visit.titles_are(&["Tall", "Wide", "Words only"]).await;
    assert_eq!(page.value("document.querySelector('#lightbox').open").await, false);

    // The link to the place where one is already closes it, and going back leads on.
    page.click(&format!("{wide} .when")).await;
    visit.titles_are(&["Wide"]).await;
    page.click(&format!("{wide} .picture")).await;
    visit.until("the picture", &shows("lake.jpg")).await;
    page.click("#lightbox-caption a:not(.author)").await;
    visit.until("the post", closed).await;
    visit.titles_are(&["Wide"]).await;
    visit.back().await;
    visit.titles_are(&["Tall", "Wide", "Words only"]).await;
    visit.end().await;
}

in_both_browsers!(pictures_are_loaded_from_new_urls_when_theirs_have_expired, renews_urls);

async fn renews_urls(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open().await;
    visit.titles_are(&["Tall", "Wide", "Words only"]).await;

    // A list whose URLs have expired, as on a page that has been open for long: the bucket refuses them.
    let expired = async || {
        let mut posts = visit.service.list("/posts?order=newest&limit=40").await;
        for post in &mut posts {
            if let Some(url) = post["image"].as_str() {
                post["image"] = json!(url.replace("X-Amz-Signature=", "X-Amz-Signature=expired"));
            }
        }
        json!(posts)
    };
    let are_loaded = |selector: &str, count: usize| {
        format!("[...document.querySelectorAll('{selector}')].filter((it) => it.naturalWidth).length === {count}")
    };
    for (path, images) in [("/@Ada", "a.tile img"), ("/", "button.picture.loaded img")] {
        visit.front.answer("GET /posts", Answer::SayOnce(expired().await));
        visit.front.seen();
        visit.go(path).await;
        visit.until("the pictures", &are_loaded(images, 2)).await;
        let lists =
            visit.front.seen().into_iter().filter(|it| it.starts_with("GET /posts") && !it.ends_with(" if changed"));
        assert_eq!(lists.count(), 2, "both pictures share the list with the new URLs");
    }

    // The same while a picture is open.
    page.click(&format!("{} .picture", visit.post("Wide").await)).await;
    visit.until("the picture", &are_loaded("#lightbox-image", 1)).await;
    let expire = "const image = document.querySelector('#lightbox-image');
        image.src = image.src.replace('X-Amz-Signature=', 'X-Amz-Signature=expired')";
    page.script(expire, json!([])).await;
    let shows = "document.querySelector('#lightbox-image').naturalWidth
        && !document.querySelector('#lightbox-image').src.includes('expired')";
    visit.until("the picture again", shows).await;
    visit.back().await;

    // A tile whose picture is broken has words instead.
    let picture = Some(("missing.jpg".to_owned(), &["Lake"][..]));
    visit.service.seed(&[Seed { title: "Broken", minutes_ago: 5, picture, ..SEED }]).await;
    visit.reload().await;
    visit.go("/@Ada").await;
    visit.text_is("a.tile.wordy .tile-words", "Broken").await;
    visit.is_sound_everywhere("a broken tile").await;
    visit.end_having_seen(&[403, 404]).await;
}

/// Moves a finger over the middle of the window.
async fn swipe(page: &Browser, x: i32, y: i32) {
    let at = |x: i32, y: i32| json!({ "type": "pointerMove", "x": 500 + x, "y": 350 + y, "duration": 50 });
    let finger = json!({ "type": "pointer", "id": "finger", "parameters": { "pointerType": "touch" }, "actions": [
        at(0, 0), { "type": "pointerDown", "button": 0 }, at(x, y), { "type": "pointerUp", "button": 0 },
    ] });
    page.send_command("actions", json!({ "actions": [finger] })).await;
}

in_both_browsers!(a_post_is_shared_by_the_device_or_by_its_address, shares);

async fn shares(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open().await;
    let wide = visit.post("Wide").await;
    let id = page.value(&format!("document.querySelector(\"{wide}\").dataset.id")).await;
    let address = format!("{}/@Ada/{}", visit.front.url, id.as_str().unwrap());

    // With the menu of the device.
    let menu = "window.shared = [];
        Object.defineProperty(navigator, 'share', { configurable: true, value: async (it) => void shared.push(it) })";
    page.script(menu, json!([])).await;
    page.click(&format!("{wide} .share")).await;
    visit.until("the menu", "shared.length").await;
    assert_eq!(page.value("shared").await, json!([{ "title": "Wide", "url": address }]));

    // Otherwise by the clipboard, also where only the old way is possible, without HTTPS.
    for (clipboard, is_old_way) in
        [("{ writeText: async (text) => void shared.push(text) }", false), ("undefined", true)]
    {
        let without = format!(
            "Object.defineProperty(navigator, 'share', {{ configurable: true, value: undefined }});
             Object.defineProperty(navigator, 'clipboard', {{ configurable: true, value: {clipboard} }});
             if ({is_old_way}) document.addEventListener('copy', () => shared.push(document.activeElement.value));
             shared.length = 0"
        );
        page.script(&without, json!([])).await;
        page.click(&format!("{wide} .share")).await;
        visit.until("the copy", "shared.length").await;
        assert_eq!(page.value("shared").await, json!([address]));
        visit.text_is(&format!("{wide} .share span"), "Link copied").await;
        visit.text_is(&format!("{wide} .share span"), "Share").await;
        visit.focus_is(&format!("{wide} .share")).await;
    }

    // A second time before the result is gone: afterwards the button has its own text again.
    let hold = "window.ends = [];
        const real = window.setTimeout;
        window.setTimeout = (act, ms, ...more) => {
            if (ms !== 2500) return real(act, ms, ...more);
            ends.push(act);
            return real(() => {}, 0);
        };
        shared.length = 0";
    page.script(hold, json!([])).await;
    for times in 1..=2 {
        page.click(&format!("{wide} .share")).await;
        visit.until("the end of the copy", &format!("shared.length === {times} && ends.length === {times}")).await;
        assert_eq!(page.text(&format!("{wide} .share span")).await, "Link copied");
    }
    page.script("for (const end of ends) end()", json!([])).await;
    assert_eq!(page.text(&format!("{wide} .share span")).await, "Share");
    visit.end().await;
}

in_both_browsers!(going_back_restores_the_list_where_it_was, restores_the_scroll_position);

async fn restores_the_scroll_position(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed_ninety(&visit).await;
    visit.open().await;
    scroll_through_ninety(&visit).await;
    let post = visit.post("Post 70").await;
    let top = format!("document.querySelector(\"{post}\").getBoundingClientRect().top");
    page.click(&format!("{post} .when")).await;
    visit.titles_are(&["Post 70"]).await;
    assert_eq!(page.value("scrollY").await, 0);
    visit.back().await;
    visit.until("all posts", "document.querySelectorAll('article.post').length === 90").await;
    visit.until("the place", &format!("{top} > 0 && {top} < innerHeight")).await;
    visit.end().await;
}

/// Ninety posts without pictures: three pages.
async fn seed_ninety(visit: &Visit) {
    let titles: Vec<String> = (0..90).map(|number| format!("Post {number}")).collect();
    let posts: Vec<_> =
        titles.iter().enumerate().map(|(age, title)| Seed { title, minutes_ago: age as u64, ..SEED }).collect();
    visit.service.seed(&posts).await;
}

/// Scrolls to the foot of the page until all ninety posts have been added.
async fn scroll_through_ninety(visit: &Visit) {
    visit
        .page
        .eventually("all posts", async || {
            visit.page.script("document.querySelector('.foot').scrollIntoView()", json!([])).await;
            (visit.page.value("document.querySelectorAll('article.post').length").await == 90).then_some(())
        })
        .await;
}

in_both_browsers!(a_window_taller_than_a_page_of_posts_is_filled, fills_a_tall_window);

async fn fills_a_tall_window(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    seed_ninety(&visit).await;
    visit.size(1200, 4000).await;
    visit.front.answer("GET /posts", Answer::Wait);
    visit.page.open(&format!("{}/@Ada", visit.front.url)).await;
    // The end of the list is near before there are any posts, and stays near.
    visit.until("the visitor", "document.querySelector('#enter:not([hidden])')").await;
    let two_frames = "const done = arguments[arguments.length - 1];
        requestAnimationFrame(() => requestAnimationFrame(() => done(null)))";
    visit.page.script_that_waits(two_frames, json!([])).await;
    visit.front.pass("GET /posts");
    // Without scrolling. The third page of tiles is too far below the window.
    visit.until("two pages of tiles", "document.querySelectorAll('a.tile').length === 80").await;
    visit.end().await;
}

in_both_browsers!(a_busy_browser_adds_posts_by_scrolling, scrolls_in_a_busy_browser);

/// A busy browser reports at once that the end of the list was moved away, and that it is near again.
async fn scrolls_in_a_busy_browser(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    seed_ninety(&visit).await;
    let collect = "window.IntersectionObserver = class extends IntersectionObserver {
        constructor(act, options) {
            const collected = [];
            super((entries, self) => {
                if (!collected.length) setTimeout(() => act(collected.splice(0), self), 500);
                collected.push(...entries);
            }, options);
        }
    };
    ";
    visit.front.answer("GET /app.js", Answer::Prepend(collect));
    visit.open().await;
    scroll_through_ninety(&visit).await;
    visit.end().await;
}

in_both_browsers!(a_failure_to_load_older_posts_is_shown_in_their_view_only, fails_to_load_older_posts);

async fn fails_to_load_older_posts(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    seed_ninety(&visit).await;
    visit.open().await;
    visit.front.answer("GET /posts", Answer::Refuse(503));
    visit.page.script("document.querySelector('.foot').scrollIntoView()", json!([])).await;
    visit.text_is("#more-problem", "The service is busy. Please try again in a moment.").await;
    visit.go("/@Ada").await;
    // Nothing older can be asked for here: these are the posts that the other view has loaded.
    assert_eq!(visit.page.value("document.querySelector('#more-problem').textContent").await, "");
    visit.end_having_seen(&[503]).await;
}

in_both_browsers!(the_skip_link_leads_past_the_navigation, skips);

async fn skips(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open().await;
    page.press(&TAB.to_string()).await;
    visit.focus_is(".skip").await;
    page.press("\u{e007}").await;
    visit.until("the posts", "document.activeElement.id === 'posts'").await;
    assert_ne!(page.value("document.querySelector('article.post')").await, Value::Null);
    visit.titles_are(&["Tall", "Wide", "Words only"]).await;
    visit.end().await;
}
