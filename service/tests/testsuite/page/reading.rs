//! Reading: lists of any length and content, newer posts, and what it costs.

use serde_json::json;
use testkit::browser::Browser;
use testkit::landscape::LAKE;

use super::visit::{LANGUAGES, SCHEMES, SEED, Seed, Visit, in_both_browsers};
use crate::support::front::Answer;

in_both_browsers!(newer_posts_arrive_without_a_reload, shows_newer_posts);

async fn shows_newer_posts(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.service.write(b"Ada", "First").await;
    visit.open().await;
    visit.titles_are(&["First"]).await;

    // A check without news is conditional, and answered with nothing.
    visit.front.seen();
    visit.come_back().await;
    let check = "GET /posts?limit=40&order=newest if changed";
    page.eventually("a check", async || visit.front.seen().contains(&check.to_owned()).then_some(())).await;
    assert_eq!(page.value("document.querySelector('#newer').hidden").await, true);

    // New posts are announced, and shown on request.
    for title in ["Second", "Third"] {
        visit.service.write(b"Bob", title).await;
    }
    visit.come_back().await;
    visit.text_is("#newer:not([hidden])", "2 new posts").await;
    assert_eq!(page.text("#notice").await, "2 new posts");
    visit.titles_are(&["First"]).await;
    visit.is_sound_everywhere("newer posts").await;
    page.click("#newer").await;
    visit.titles_are(&["Third", "Second", "First"]).await;
    assert_eq!(page.value("document.querySelector('#newer').hidden").await, true);
    let focused = visit.post("Third").await;
    visit.focus_is(&focused).await;

    // Labels of known posts and deletions by others are not announced, but they are shown.
    visit.store("lake.jpg", &LAKE).await;
    let posts = visit.service.list("/posts?user=Bob").await;
    let id = posts[0]["id"].as_str().unwrap().replace("POST#", "");
    visit.service.label("Bob", &id, "lake.jpg", &["Lake"]).await;
    visit.come_back().await;
    visit.until("the label", "document.querySelector('.labels a')").await;
    visit.end().await;
}

in_both_browsers!(loading_and_empty_states_are_shown, shows_states);

async fn shows_states(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open().await;
    visit.be_patient().await;
    visit.text_is(".empty-text", "It is quiet here.").await;
    visit.is_sound_everywhere("no posts, a visitor").await;
    // The invitation leads to the form, and to the login before.
    page.click("#empty-write").await;
    visit.until("the login", "document.querySelector('#login').open").await;
    visit.log_in("Ada").await;
    visit.until("the form", "document.querySelector('#compose').open").await;
    page.click("#compose-close").await;
    for (path, words) in [
        ("/@Ada", "Your posts will be here."),
        ("/@Bob", "No posts yet."),
        ("/labels/sky", "No posts with this label."),
    ] {
        visit.go(path).await;
        visit.text_is("#empty:not([hidden]) .empty-text", words).await;
        visit.is_sound_everywhere(&format!("no posts {}", words.len())).await;
    }

    visit.service.write(b"Ada", "First").await;
    for (path, ghosts) in [("/", 3), ("/@Ada", 9)] {
        visit.front.answer("GET /posts", Answer::Wait);
        visit.follow(path).await;
        let shows = format!("document.querySelectorAll('#posts[aria-busy=true] .ghost').length === {ghosts}");
        visit.until("ghosts", &shows).await;
        assert_eq!(page.value("document.querySelector('#empty').hidden").await, true);
        visit.is_sound_everywhere(&format!("loading {ghosts}")).await;
        visit.front.pass("GET /posts");
        visit.until("the post", "document.querySelector('#posts [data-id]')").await;
    }
    visit.end().await;
}

in_both_browsers!(the_first_load_is_small, loads_little);

/// The limit for everything that the first load of the page transfers, compressed, but for posts and their pictures.
const MOST_BYTES: u64 = 60_000;

async fn loads_little(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.seed_three().await;
    visit.size(1200, 2000).await;
    visit.open().await;
    let loaded = "document.querySelectorAll('.picture.loaded').length === 2";
    visit.until("the pictures", loaded).await;
    let sizes = "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]
        .filter((it) => new URL(it.name).origin === location.origin && !/^\\/(posts|config)/.test(new URL(it.name).pathname))
        .map((it) => [new URL(it.name).pathname, it.encodedBodySize, it.decodedBodySize])";
    let sizes = page.value(sizes).await;
    let sizes: Vec<(String, u64, u64)> = serde_json::from_value(sizes).unwrap();
    assert!(sizes.iter().any(|(path, ..)| path == "/app.css") && sizes.len() > 20, "{sizes:?}");
    let is_text = |path: &str| path == "/" || path.ends_with(".js") || path.ends_with(".css");
    let packed = sizes.iter().filter(|(path, ..)| is_text(path)).all(|(_, encoded, decoded)| encoded < decoded);
    assert!(packed, "they are not compressed: {sizes:?}");
    let sum: u64 = sizes.iter().map(|(_, encoded, _)| encoded).sum();
    println!("the first load: {sum} bytes in {} requests", sizes.len());
    assert!(sum < MOST_BYTES, "{sum} bytes: {sizes:?}");
    visit.end().await;
}

in_both_browsers!(hostile_texts_are_shown_as_text_within_320_pixels_and_accessibly, shows_hostile_texts);

async fn shows_hostile_texts(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    visit.service.store("a/b#?&+%/1/lake é+1.jpg", &lake).await;
    let (endless, long) = ("Donaudampfschifffahrtsgesellschaft".repeat(8), "many words ".repeat(400));
    let name = "x".repeat(100);
    let label = format!("A label too long for anyone to read in full, {}", "x".repeat(60));
    let labels = [label.as_str(), "<b>Lake</b>"];
    visit
        .service
        .seed(&[
            Seed {
                user: "محمد",
                title: "مرحبا بالعالم",
                body: "هذا نص من اليمين إلى اليسار.",
                minutes_ago: 9000,
                ..SEED
            },
            Seed {
                user: "李小龙", title: "长江的早晨", body: "今天早上江上有很大的雾。", minutes_ago: 800, ..SEED
            },
            Seed {
                user: "a/b#?&+%",
                title: "<script>alert(1)</script>",
                body: "<img src=x onerror=alert(2)> & \"quotes\"",
                minutes_ago: 90,
                picture: Some(("a/b#?&+%/1/lake é+1.jpg".to_owned(), &labels)),
                alt: "<i>A lake</i>",
                ..SEED
            },
            Seed { user: "Zoé", title: &endless, body: &endless, minutes_ago: 8, ..SEED },
            Seed { user: &name, title: "👋🏽 hello 🎉", body: &long, minutes_ago: 7, ..SEED },
            Seed { user: "Zoé", title: "", body: "  indented\n\n\nand apart", minutes_ago: 6, ..SEED },
        ])
        .await;
    visit.size(320, 640).await;
    visit.open().await;
    visit.is_sound("before the login").await;
    visit.open_as("Zoé").await;
    for language in LANGUAGES {
        visit.language(language).await;
        for scheme in SCHEMES {
            let state = format!("{scheme}, {language}");
            visit.scheme(scheme).await;
            visit.open().await;
            assert_eq!(page.value("document.documentElement.lang").await, language);
            visit.is_sound(&state).await;
            visit.hold_deletions().await;
            page.click(".delete").await;
            visit.is_sound(&format!("{state}, deleted")).await;
            page.click(".undo").await;
            visit.compose().await;
            visit.is_sound(&format!("{state}, writing")).await;
            page.click("#compose-close").await;
            visit.log_out().await;
            visit.is_sound(&format!("{state}, logged out")).await;
            visit.open_as("Zoé").await;
        }
    }
    visit.language("en").await;
    visit.open().await;

    // Text is never interpreted as markup.
    let marked = visit.post("<script>alert(1)</script>").await;
    assert_eq!(page.text(&format!("{marked} .text")).await, "<img src=x onerror=alert(2)> & \"quotes\"");
    assert_eq!(page.text(&format!("{marked} .author .name")).await, "a/b#?&+%");
    assert_eq!(page.text(&format!("{marked} .labels li:last-child")).await, "#<b>lake</b>");
    assert_eq!(page.value(&format!("document.querySelector(\"{marked} .picture img\").alt")).await, "<i>A lake</i>");
    page.script("document.querySelector(arguments[0]).scrollIntoView()", json!([marked])).await;
    visit
        .until("the picture", &format!("document.querySelector(\"{marked} .picture img\").naturalWidth === 640"))
        .await;
    page.click(&format!("{marked} .picture")).await;
    visit.until("the caption", "document.querySelector('#lightbox-caption p')?.textContent === '<i>A lake</i>'").await;
    visit.is_sound("a hostile caption").await;
    visit.back().await;
    visit.until("the list", "!document.querySelector('#lightbox').open").await;
    let direction = "getComputedStyle([...document.querySelectorAll('.post h2')].at(-1)).direction";
    assert_eq!(page.value(direction).await, "rtl");

    // Long text is folded until the user expands it.
    let folded = visit.post("👋🏽 hello 🎉").await;
    let height = format!("document.querySelector(\"{folded} .text\").getBoundingClientRect().height");
    let before = page.value(&height).await.as_f64().unwrap();
    page.click(&format!("{folded} .unfold")).await;
    visit.until("all of the text", &format!("{height} > {}", 3.0 * before)).await;
    assert_eq!(page.text(&format!("{folded} .text")).await, long);
    visit.is_sound("unfolded").await;

    // Names and labels of any kind have pages.
    for link in [".author", ".labels li:last-child a"] {
        page.click(&format!("{marked} {link}")).await;
        visit.until("the view", "!document.querySelector('#profile').hidden").await;
        visit.until("its posts", "document.querySelector('#posts [data-id]')").await;
        visit.is_sound(link).await;
        visit.back().await;
        visit.until("the list", "document.querySelectorAll('article.post').length === 6").await;
    }
    visit.end().await;
}

in_both_browsers!(a_thousand_posts_load_in_pages_and_their_pictures_lazily, reads_a_thousand_posts);

async fn reads_a_thousand_posts(browser: Browser) {
    let name = if browser.is_chromium() { "Chromium" } else { "Firefox" };
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let lake = visit.picture("lake.jpg", &LAKE);
    let titles: Vec<String> = (0..1000).map(|number| format!("Post {number}")).collect();
    let mut posts = Vec::new();
    for (number, title) in titles.iter().enumerate() {
        let key = format!("Ada/{number}/lake.jpg");
        let picture = (number >= 960).then_some((key, &["Lake"][..]));
        if let Some((key, _)) = &picture {
            visit.service.store(key, &lake).await;
        }
        posts.push(Seed { title, minutes_ago: 1000 - number as u64, picture, ..SEED });
    }
    visit.service.seed(&posts).await;
    visit.open_as("Ada").await;
    let count = "document.querySelectorAll('article.post').length";
    assert_eq!(page.value(count).await, 40);
    let loaded = "[...document.querySelectorAll('.picture img')].filter((it) => it.naturalWidth).length";
    visit.until("the first picture", &format!("{loaded} > 0")).await;
    let first = page.value(loaded).await.as_u64().unwrap();
    assert!(first < 30, "{first} of 40 pictures were loaded at once");
    visit.is_sound("forty posts").await;

    // The button loads the next page, and the focus moves to its first post.
    page.script("document.querySelector('#more').click()", json!([])).await;
    visit.until("the second part", &format!("{count} >= 80")).await;
    assert_eq!(page.value("document.activeElement.querySelector('h2').textContent").await, "Post 959");

    // A post written in the meantime is shown on top, and no post is shown twice or lost.
    visit.publish("Post 1000").await;
    visit.until("the new post", "document.querySelector('article.post h2').textContent === 'Post 1000'").await;
    while page.value("!document.querySelector('#more').hidden").await == true {
        let before = page.value(count).await;
        page.script("document.querySelector('#more').click()", json!([])).await;
        visit.until("more", &format!("{count} > {before}")).await;
    }
    let all: Vec<String> = (0..=1000).rev().map(|number| format!("Post {number}")).collect();
    assert_eq!(visit.titles().await, json!(all));

    // Scrolling stays smooth: posts outside the window are not laid out, and estimates keep their room.
    page.script("scrollTo(0, 0)", json!([])).await;
    let skipped = "[...document.querySelectorAll('article.post')]
        .filter((it) => !it.querySelector('h2').checkVisibility({ contentVisibilityAuto: true })).length";
    visit.until("posts that are not drawn", &format!("{skipped} > 900")).await;
    println!("scrolling through {} posts in {name}: {}", all.len(), frames(page).await);
    let height = "document.documentElement.scrollHeight";
    assert!(page.value(height).await.as_u64() > Some(100_000));
    page.script("document.querySelector('.foot').scrollIntoView()", json!([])).await;
    visit
        .until(
            "the last post",
            "document.querySelector('article.post:last-of-type h2').checkVisibility({ contentVisibilityAuto: true })",
        )
        .await;
    visit.end().await;
}

/// How long frames take while the page is scrolled by 100 pixels in each, in words.
async fn frames(page: &Browser) -> String {
    let scroll = "const done = arguments[arguments.length - 1];
        const times = [];
        const step = (now) => {
            scrollBy({ top: 100, behavior: 'instant' });
            if (times.push(now) < 400) requestAnimationFrame(step);
            else done(times.slice(1).map((time, place) => time - times[place]));
        };
        requestAnimationFrame(step)";
    let mut frames: Vec<f64> = serde_json::from_value(page.script_that_waits(scroll, json!([])).await).unwrap();
    frames.sort_by(f64::total_cmp);
    let percentile = |share: usize| frames[(frames.len() - 1) * share / 100];
    // In whole milliseconds: Firefox's times are not those of the display.
    let smooth = frames.iter().filter(|it| it.round() <= 17.0).count();
    format!(
        "{} frames: p50 {:.1} ms, p95 {:.1} ms, {} % ≤ 17 ms, the longest {:.0} ms",
        frames.len(),
        percentile(50),
        percentile(95),
        100 * smooth / frames.len(),
        percentile(100)
    )
}

in_both_browsers!(the_page_uses_the_first_browser_language_that_it_supports, uses_the_browsers_language);

async fn uses_the_browsers_language(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    let picture = Some(("lake.jpg".to_owned(), &["Sunset", "Armillary Sphere"][..]));
    visit.store("lake.jpg", &LAKE).await;
    visit.service.seed(&[Seed { title: "Hier", minutes_ago: 24 * 60, picture, ..SEED }]).await;
    for (languages, language, publish, when, label, month) in [
        ("fr-CA,en", "fr", "Publier", "hier", "#coucher de soleil", "20"),
        ("de,fr", "fr", "Publier", "hier", "#coucher de soleil", " à "),
        ("en-GB,fr", "en", "Publish", "yesterday", "#sunset", " at "),
        ("ja", "en", "Publish", "yesterday", "#sunset", "M"),
    ] {
        visit.language(languages).await;
        visit.open().await;
        assert_eq!(page.value("document.documentElement.lang").await, language, "{languages}");
        assert_eq!(page.text("#post-submit").await, publish, "{languages}");
        assert_eq!(page.text("#posts time").await, when, "{languages}");
        assert_eq!(page.text("#posts .labels a").await, label, "{languages}");
        assert_eq!(page.text("#posts .labels li:last-child a").await, "#armillary sphere", "no word for it");
        let full = page.value("document.querySelector('#posts .when').title").await;
        assert!(full.as_str().unwrap().contains(month), "{languages}: {full}");
        // Whatever it is called, the address is the same.
        assert_eq!(page.value("document.querySelector('#posts .labels a').pathname").await, "/labels/sunset");
    }
    // Both languages have the same keys: none is shown untranslated.
    let words = "const done = arguments[arguments.length - 1];
        fetch('/words.js').then((it) => it.text()).then((text) => done(['en', 'fr'].map((name) =>
            [...text.split(`const ${name} = {`)[1].split('\\n};')[0].matchAll(/^  (\\w+):/gm)].map((it) => it[1]))))";
    let words = page.script_that_waits(words, json!([])).await;
    assert_eq!(words[0], words[1]);
    assert!(words[0].as_array().unwrap().len() > 80);
    visit.end().await;
}
