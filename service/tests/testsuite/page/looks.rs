//! Looks: the keyboard, the API documentation, and the page in every size and scheme.

use serde_json::json;
use testkit::browser::Browser;
use testkit::landscape::{DUSK, LAKE, MEADOW, landscape_of};

use super::visit::{CONTROL, ENTER, ESCAPE, SEED, Seed, TAB, Visit, in_both_browsers};
use crate::support::front::Answer;

in_both_browsers!(everything_works_with_the_keyboard, uses_the_keyboard);

async fn uses_the_keyboard(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.open().await;
    page.press(&TAB.to_string()).await;
    visit.focus_is(".skip").await; // the first stop
    visit.tab_to("#new", false).await;
    page.press(&ENTER.to_string()).await;
    visit.until("the login", "document.activeElement.id === 'login-name'").await;
    page.press(&format!("Zoe{ENTER}")).await;
    visit.until("the form", "document.activeElement.id === 'post-title'").await;
    page.press(&format!("By hand{TAB}No mouse was there")).await;
    visit.front.answer("POST /posts", Answer::Wait);
    page.press_with(CONTROL, ENTER).await;
    page.press_with(CONTROL, ENTER).await; // an accidental second press publishes nothing twice
    visit.front.pass("POST /posts");
    visit.titles_are(&["By hand"]).await;
    assert_eq!(visit.front.seen().iter().filter(|it| it.starts_with("POST")).count(), 1);
    page.press(&TAB.to_string()).await;
    visit.tab_to("#posts input[type=file]", false).await;
    let ring = "getComputedStyle(document.activeElement.parentElement).outlineStyle";
    assert_eq!(page.value(ring).await, "solid", "the focus is visible");

    visit.hold_deletions().await;
    // A deleted post can be restored, and the focus follows it.
    visit.tab_to("#posts .delete", false).await;
    page.press(&ENTER.to_string()).await;
    visit.focus_is(".gone .undo").await;
    page.press(&ENTER.to_string()).await;
    visit.focus_is("#posts .delete").await;
    page.press(&ENTER.to_string()).await;
    visit.tab_to(".gone .dismiss", false).await;
    page.press(&ENTER.to_string()).await;
    visit.until("its end", "!document.querySelector('.gone')").await;
    visit.until("a place for the focus", "document.activeElement.closest('main')").await;

    // Dialogs are left with Escape and return the focus; links work like buttons.
    visit.tab_to("#new", true).await;
    page.press(" ").await;
    visit.until("the form", "document.activeElement.id === 'post-title'").await;
    page.press(&ESCAPE.to_string()).await;
    visit.until("the page", "!document.querySelector('#compose').open").await;
    visit.focus_is("#new").await;
    visit.tab_to("#me", false).await;
    page.press(&ENTER.to_string()).await;
    visit.until("the profile", "document.activeElement.id === 'heading'").await;
    visit.tab_to("#logout", false).await;
    page.press(&ENTER.to_string()).await;
    visit.until("the way in", "document.activeElement.id === 'enter'").await;
    visit.end().await;
}

in_both_browsers!(the_api_documentation_works_without_inline_scripts, shows_the_api);

async fn shows_the_api(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    visit.page.open(&format!("{}/docs", visit.front.url)).await;
    visit.until("its operations", "document.querySelectorAll('.opblock').length === 14").await;
    visit.page.click("#operations-default-listPosts button").await;
    visit.until("what it takes", "document.querySelectorAll('.parameters tbody tr').length === 7").await;
    visit.end().await;
}

in_both_browsers!(nothing_moves_while_the_page_loads, stays_in_place);

/// Records in `moved` every visible element that is somewhere else after it has been at one place for two frames: the
/// height of a card that is not drawn yet is an estimate for one. Counts frames in `looks`.
const WATCH_PLACES: &str = "window.moved = [];
    window.looks = 0;
    const places = new Map();
    const look = () => {
        window.looks += 1;
        for (const element of document.querySelectorAll('body *')) {
            const { x, y, width, height } = element.getBoundingClientRect();
            if (!width || !height || y >= innerHeight || y + height <= 0) {
                places.delete(element);
                continue;
            }
            const known = places.get(element);
            const stays = known && Math.abs(x - known.x) <= 1 && Math.abs(y - known.y) <= 1;
            if (known && !stays && known.frames > 1) {
                moved.push(`${element.tagName} ${element.id} ${element.getAttribute('class')}: ${known.x}, ${known.y} to ${x}, ${y}`);
            }
            places.set(element, { x, y, frames: stays ? known.frames + 1 : 1 });
        }
        requestAnimationFrame(look);
    };
    look()";

/// Records in `shifts` how much of the page has moved since it was opened. Firefox does not measure that.
const WATCH_SHIFTS: &str = "window.shifts = [];
    if (PerformanceObserver.supportedEntryTypes.includes('layout-shift')) {
        new PerformanceObserver((list) => shifts.push(...list.getEntries().map((it) => it.value)))
            .observe({ type: 'layout-shift', buffered: true });
    }";

async fn stays_in_place(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    visit.seed_three().await;
    visit.size(1200, 2000).await;
    for user in ["", "Ada"] {
        if !user.is_empty() {
            visit.open_as(user).await;
        }
        for part in ["GET /config", "GET /posts"] {
            visit.front.answer(part, Answer::Wait);
        }
        page.open(&visit.front.url).await;
        visit.until("the ghosts", "document.querySelector('#posts .ghost')").await;
        page.script(WATCH_PLACES, json!([])).await;
        page.script(WATCH_SHIFTS, json!([])).await;
        visit.until("some frames", "looks > 3").await;
        visit.front.pass("GET /config");
        let is_known = if user.is_empty() { "#enter:not([hidden])" } else { "#me:not([hidden])" };
        visit.until("the user", &format!("document.querySelector('{is_known}')")).await;
        visit.front.pass("GET /posts");
        visit.until("the pictures", "document.querySelectorAll('.picture.loaded').length === 2").await;
        let frames = page.value("looks").await;
        visit.until("some more frames", &format!("looks > {frames} + 3")).await;
        assert_eq!(page.value("moved").await, json!([]), "{user}");
        let shifts: Vec<f64> = serde_json::from_value(page.value("shifts").await).unwrap();
        assert!(shifts.iter().sum::<f64>() < 0.01, "{user}: {shifts:?}");
    }

    // Proves that the measurement detects a movement.
    page.script("document.querySelector('#posts').style.paddingTop = '50px'", json!([])).await;
    visit.until("a move", "moved.length").await;
    visit.end().await;
}

/// Creates the posts in the screenshots: three people, four pictures of different shapes, and one post of words.
async fn seed(visit: &Visit) {
    for (place, (user, title, body, minutes_ago, picture)) in [
        ("Benoît", "Up on the meadow", "Not a cloud, and nobody but us.", 3 * 24 * 60, Some((MEADOW, 640, 400))),
        (
            "Maya",
            "Does anybody have a spare tent?",
            "For the first weekend of June. Two people, and it may rain.",
            26 * 60,
            None,
        ),
        ("Ada", "Blue hour", "The lake, just before the boats go out.", 190, Some((LAKE, 640, 480))),
        ("Zoé", "", "", 7 * 24 * 60, Some((LAKE, 640, 640))),
        ("Zoé", "Rain is coming", "", 8 * 24 * 60, None),
        ("Zoé", "Over the hill", "", 9 * 24 * 60, Some((MEADOW, 640, 800))),
        ("Zoé", "", "", 10 * 24 * 60, Some((DUSK, 640, 400))),
        ("Zoé", "Morning", "", 11 * 24 * 60, Some((LAKE, 640, 400))),
        ("Zoé", "", "", 12 * 24 * 60, Some((MEADOW, 640, 640))),
        ("Zoé", "", "", 13 * 24 * 60, Some((LAKE, 640, 900))),
        ("Zoé", "", "", 14 * 24 * 60, Some((DUSK, 640, 640))),
        (
            "Zoé",
            "Home before dark",
            "The last light of a long day. Nobody wanted to leave.",
            12,
            Some((DUSK, 640, 720)),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let labels: &[&str] = match user {
            "Benoît" => &["Grass", "Outdoors", "Nature", "Sky"],
            "Ada" => &["Lake", "Water", "Mountain", "Blue"],
            _ => &["Sunset", "Outdoors", "Landscape", "Sky", "Hill"],
        };
        let mut post = Seed { user, title, body, minutes_ago, ..SEED };
        if let Some((colours, width, height)) = picture {
            let key = format!("{place}.jpg");
            let file = visit.folder.path().join(&key);
            landscape_of(&file, &colours, width, height);
            visit.service.store(&key, &file).await;
            post.picture = Some((key, labels));
            post.size = match height {
                400 => "640x400",
                480 => "640x480",
                640 => "640x640",
                720 => "640x720",
                800 => "640x800",
                _ => "640x900",
            };
        }
        visit.service.seed(&[post]).await;
    }
}

in_both_browsers!(the_page_looks_right_in_every_size_and_scheme, looks_right);

/// The pictures in `docs/` are made from some of Chromium's screenshots.
async fn looks_right(browser: Browser) {
    let visit = Visit::with(browser, &[]).await;
    let page = &visit.page;
    seed(&visit).await;
    visit.open_as("Zoé").await;
    for (name, scheme, width, height) in [
        ("desktop", "light", 1200, 860),
        ("phone", "light", 390, 844),
        ("desktop-dark", "dark", 1200, 860),
        ("phone-dark", "dark", 390, 844),
    ] {
        visit.size(width, height).await;
        visit.scheme(scheme).await;
        let shot = async |view: &str| {
            page.script("document.activeElement.blur()", json!([])).await;
            visit.is_sound(&format!("{view}, {name}")).await;
            page.screenshot(&format!("{view}-{name}.png")).await;
        };
        let drawn =
            "[...document.querySelectorAll('#posts img')].every((it) => it.naturalWidth || it.loading === 'lazy')
            && document.querySelector('#posts img').naturalWidth";
        visit.open().await;
        visit.until("the pictures", drawn).await;
        shot("feed").await;
        page.click(".picture").await;
        visit.until("the picture", "document.querySelector('#lightbox-image').naturalWidth").await;
        shot("lightbox").await;
        visit.back().await;
        visit.until("the list", "!document.querySelector('#lightbox').open").await;
        page.click(&format!("{} .when", visit.post("Blue hour").await)).await;
        visit.titles_are(&["Blue hour"]).await;
        visit.until("the picture", drawn).await;
        shot("permalink").await;
        page.click("#me").await;
        visit.until("the grid", "document.querySelectorAll('a.tile').length === 9").await;
        visit.until("the pictures", drawn).await;
        shot("author").await;
        visit.compose().await;
        shot("compose").await;
        page.click("#compose-close").await;
    }
    visit.end().await;
}
