/* Keeps a page of Dispatch true while it is open, says times as people do, and does what buttons ask for.
 *
 * The server makes every piece of the page; this only puts the new piece in the place of the old one. Nothing that was
 * read is ever written as HTML: a page is parsed by the browser into a document without scripts, and moved over node by
 * node.
 */
(function () {
    "use strict";

    var EVERY = 2000, LONGEST_PAUSE = 30000, PATIENCE = 20000;
    var live = document.getElementById("dispatch-live");
    var told = document.getElementById("dispatch-live-state");
    if (!live) {
        return;
    }

    // -- times

    var UNITS = [["day", 86400], ["h", 3600], ["min", 60]];

    function span(seconds) {
        for (var i = 0; i < UNITS.length; i += 1) {
            if (seconds >= UNITS[i][1]) {
                var count = Math.floor(seconds / UNITS[i][1]);
                return count + " " + UNITS[i][0] + (UNITS[i][0] === "day" && count > 1 ? "s" : "");
            }
        }
        return Math.floor(seconds) + " s";
    }

    function relative(moment) {
        var distance = (Date.now() - moment) / 1000;
        if (Math.abs(distance) < 1) {
            return "now";
        }
        return distance > 0 ? span(distance) + " ago" : "in " + span(-distance);
    }

    function tellTimes(root) {
        root.querySelectorAll("time.dc-time").forEach(function (element) {
            var at = element.getAttribute("datetime"), moment = Date.parse(at), words = relative(moment);
            if (!element.title) {
                element.title = at.replace("T", " ").replace("Z", " UTC");
            }
            if (!isNaN(moment) && element.textContent !== words) {
                element.textContent = words;
            }
        });
    }

    // -- the new page in the place of the old one, without losing what a person has opened, chosen or focused

    var KEPT = {open: true, title: true};

    function sameKind(one, other) {
        return one.nodeType === other.nodeType && one.nodeName === other.nodeName &&
            (one.nodeType !== 1 || one.id === other.id);
    }

    function become(old, fresh) {
        if (old.nodeType !== 1) {
            if (old.nodeValue !== fresh.nodeValue) {
                old.nodeValue = fresh.nodeValue;
            }
            return;
        }
        var isTime = old.matches("time.dc-time");
        Array.from(old.attributes).forEach(function (attribute) {
            if (!fresh.hasAttribute(attribute.name) && !KEPT[attribute.name]) {
                old.removeAttribute(attribute.name);
            }
        });
        Array.from(fresh.attributes).forEach(function (attribute) {
            if (old.getAttribute(attribute.name) !== attribute.value && attribute.name !== "open") {
                old.setAttribute(attribute.name, attribute.value);
                if (isTime) {
                    old.removeAttribute("title");
                }
            }
        });
        if (!isTime) {
            becomeChildren(old, fresh);
        }
    }

    function becomeChildren(old, fresh) {
        var byId = new Map(), place = old.firstChild;
        Array.from(old.children).forEach(function (child) {
            if (child.id) {
                byId.set(child.id, child);
            }
        });
        Array.from(fresh.childNodes).forEach(function (wanted) {
            var found = wanted.id ? byId.get(wanted.id) : null;
            if (found && found !== place) {
                old.insertBefore(found, place);
                place = found;
            }
            if (place && sameKind(place, wanted)) {
                become(place, wanted);
                place = place.nextSibling;
            } else {
                old.insertBefore(document.importNode(wanted, true), place);
            }
        });
        while (place) {
            var next = place.nextSibling;
            place.remove();
            place = next;
        }
    }

    // -- staying true

    var tag = null, failures = 0, timer = null, isAsking = false;

    function say(words, isLost) {
        told.hidden = false;
        if (told.textContent !== words) {
            told.textContent = words;
        }
        told.classList.toggle("dc-lost", isLost);
    }

    function later(pause) {
        clearTimeout(timer);
        timer = setTimeout(look, pause);
    }

    function isInUse() {
        var dialog = document.querySelector("dialog.dc-dialog[open]");
        var chosen = window.getSelection();
        return Boolean(dialog) || (chosen && !chosen.isCollapsed && live.contains(chosen.anchorNode));
    }

    function take(text) {
        var fresh = new DOMParser().parseFromString(text, "text/html").getElementById("dispatch-live");
        if (fresh) {
            becomeChildren(live, fresh);
            tellTimes(live);
        }
    }

    function look() {
        if (document.hidden || isAsking) {
            later(EVERY);
            return;
        }
        var stop = new AbortController(), watch = setTimeout(function () { stop.abort(); }, PATIENCE);
        var headers = tag ? {"If-None-Match": tag} : {};
        isAsking = true;
        fetch(window.location.href, {headers: headers, cache: "no-store", credentials: "same-origin", redirect: "error", signal: stop.signal})
            .then(function (answer) {
                if (answer.status === 401 || answer.status === 403) {
                    say("You are logged out: load this page again", true);
                    failures = -1;
                    return null;
                }
                if (answer.status === 304) {
                    return "";
                }
                tag = answer.headers.get("Etag");
                if (answer.status === 503) {
                    failures += 1;
                    say("The state server does not answer", true);
                    return answer.text();
                }
                failures = 0;
                return answer.text();
            })
            .then(function (text) {
                if (text === null) {
                    return;
                }
                if (text && !isInUse()) {
                    take(text);
                } else if (text) {
                    tag = null;
                }
                if (!failures) {
                    say("Live", false);
                }
            })
            .catch(function () {
                failures += 1;
                say("No answer from Flower", true);
            })
            .finally(function () {
                clearTimeout(watch);
                isAsking = false;
                if (failures >= 0) {
                    later(Math.min(LONGEST_PAUSE, EVERY * Math.pow(2, Math.min(failures, 5))));
                }
            });
    }

    // -- doing something

    var said = document.createElement("div");
    said.className = "dc-said";
    said.setAttribute("aria-live", "polite");
    document.body.appendChild(said);

    function announce(words, isBad, link) {
        var line = document.createElement("p");
        line.textContent = words;
        line.className = isBad ? "dc-bad" : "";
        line.setAttribute("role", isBad ? "alert" : "status");
        if (link) {
            var go = document.createElement("a");
            go.href = link;
            go.textContent = " Look at it";
            line.appendChild(go);
        }
        said.appendChild(line);
        setTimeout(function () { line.remove(); }, isBad ? 15000 : 8000);
        return line;
    }

    function cookie(name) {
        var found = document.cookie.split("; ").find(function (part) { return part.startsWith(name + "="); });
        return found ? decodeURIComponent(found.slice(name.length + 1)) : "";
    }

    function key() {
        var bytes = crypto.getRandomValues(new Uint8Array(16));
        return "flower-" + Array.from(bytes, function (one) { return one.toString(16).padStart(2, "0"); }).join("");
    }

    function send(address, body) {
        var stop = new AbortController(), watch = setTimeout(function () { stop.abort(); }, PATIENCE);
        var options = {
            method: "POST",
            credentials: "same-origin",
            redirect: "error",
            headers: {"Content-Type": "application/json", "X-XSRFToken": cookie("_xsrf")},
            body: JSON.stringify(body),
            signal: stop.signal
        };
        return fetch(address, options).then(function (answer) {
            return answer.text().then(function (text) {
                var found = {message: text};
                try {
                    found = JSON.parse(text);
                } catch (error) {
                    // Flower's own refusals are plain words.
                }
                if (!answer.ok) {
                    throw new Error(found.message || "Refused: " + answer.status);
                }
                return found;
            });
        }, function () {
            throw new Error("No answer from Flower: it is done, or it is not. Look before you do it again.");
        }).finally(function () { clearTimeout(watch); });
    }

    function element(name, className, words) {
        var made = document.createElement(name);
        made.className = className;
        made.textContent = words || "";
        return made;
    }

    /* Ask a person, and do it while the question stands: what is refused is told beside what was filled in.
     * Answer with what was done, or with null. */
    function ask(question, wants) {
        return new Promise(function (resolve) {
            var dialog = element("dialog", "dc-dialog"), form = document.createElement("form"), fields = {};
            var actions = element("div", "dc-actions"), yes = element("button", "dc-button dc-button-" + wants.look, wants.label);
            var no = element("button", "dc-button dc-button-plain", "Leave it"), doing = null;
            var refused = element("p", "dc-refused");
            var words = element("p", "", question);
            words.id = "dispatch-question";
            refused.id = "dispatch-refused";
            refused.setAttribute("role", "alert");
            dialog.setAttribute("aria-labelledby", words.id);
            form.appendChild(words);
            if (wants.figures) {
                form.appendChild(element("p", "dc-figures", wants.figures));
            }
            function field(name, label, type) {
                var wrap = element("label", ""), input = document.createElement(type === "textarea" ? type : "input");
                input.name = name;
                input.autocomplete = "off";
                input.spellcheck = false;
                input.setAttribute("aria-describedby", refused.id);
                fields[name] = input;
                if (type !== "textarea") {
                    input.type = type;
                }
                if (type === "checkbox") {
                    wrap.append(input, " " + label);
                } else {
                    input.maxLength = type === "textarea" ? 60000 : 400;
                    wrap.append(label, input);
                }
                form.appendChild(wrap);
            }
            if (wants.edits) {
                field("edits", wants.edits, "textarea");
                fields.edits.rows = 6;
                fields.edits.required = true;
            }
            if (wants.rate) {
                field("rate", "How fast, such as 100/m or 10/s (empty: all at once)", "text");
            }
            if (wants.reason) {
                field("reason", wants.reasonWords || "Why (kept in the record; may be left out)", "text");
            }
            if (wants.option) {
                field("option", wants.optionWords, "checkbox");
            }
            if (wants.word) {
                field("word", "Type \u201c" + wants.word + "\u201d to go on", "text");
                yes.disabled = true;
                fields.word.addEventListener("input", function () {
                    yes.disabled = fields.word.value.trim().toLowerCase() !== wants.word;
                });
            }
            no.type = "button";
            no.addEventListener("click", function () { dialog.close(); });
            form.addEventListener("submit", function (event) {
                var body = {};
                event.preventDefault();
                ["reason", "rate", "edits"].forEach(function (name) {
                    if (fields[name] && fields[name].value.trim()) {
                        body[name] = fields[name].value.trim();
                    }
                });
                if (fields.option && fields.option.checked) {
                    body[wants.option] = true;
                }
                yes.disabled = true;
                refused.textContent = "";
                doing = wants.act(body);
                doing.then(function () {
                    dialog.close();
                }, function (error) {
                    if (dialog.open) {  // else whoever asked is told
                        doing = null;
                    }
                    refused.textContent = error.message;
                    yes.disabled = false;
                });
            });
            actions.append(no, yes);
            form.append(refused, actions);
            dialog.appendChild(form);
            document.body.appendChild(dialog);
            dialog.addEventListener("close", function () {
                dialog.remove();
                wants.isLeft = true;
                resolve(doing);
            });
            dialog.showModal();
        });
    }

    function lookNow() {
        tag = null;
        failures = 0;
        later(150);
    }

    function pageOf(about) {
        var rooms = {job: "jobs", run: "runs", dlq: "dead-letters"}, room = rooms[String(about || "").split("_")[0]];
        var root = document.querySelector(".dc-tabs a");
        return room && root ? root.getAttribute("href") + "/" + room + "/" + encodeURIComponent(about) : "";
    }

    function press(button) {
        var body = JSON.parse(button.dataset.body || "{}");
        var wants = {
            label: button.dataset.yes || button.textContent.trim(),
            look: button.classList.contains("dc-button-danger") ? "danger" : "primary",
            reason: "reason" in button.dataset,
            reasonWords: button.dataset.reason,
            option: button.dataset.option,
            optionWords: button.dataset.optionWords,
            edits: button.dataset.edits,
            act: function (filled) {
                button.disabled = true;
                return send(button.dataset.do, Object.assign({}, body, filled)).finally(function () {
                    button.disabled = false;
                    lookNow();
                });
            }
        };
        if ("key" in button.dataset) {
            body.key = key();
        }
        (button.dataset.ask ? ask(button.dataset.ask, wants) : wants.act({})).then(function (done) {
            if (done) {
                var link = pageOf(done.about);
                announce(done.message, false, link && !window.location.pathname.endsWith(link) ? link : "");
            }
        }).catch(function (error) {
            announce(error.message, true);
        });
    }

    // -- many at once: batch after batch, until there is none left or the question is closed

    function chosen() {
        return Array.from(live.querySelectorAll("input[name=letter]:checked"), function (box) { return box.value; });
    }

    function batches(address, body, line, wants, total) {
        return send(address, body).then(function (done) {
            total.done += done.done;
            total.gone += done.gone;
            line.textContent = total.done + " " + wants.done + (total.gone ? ", " + total.gone + " could not be" : "") +
                (!done.cursor ? "." : wants.isLeft ? ", and then it was stopped." : " so far…");
            return done.cursor && !wants.isLeft ? batches(address, Object.assign({}, body, {cursor: done.cursor}), line, wants, total) : total;
        });
    }

    /* What would be done is asked for first, and is part of the question. */
    function pressMany(button) {
        var bar = button.closest("[data-many]"), verb = button.dataset.bulk, body = {}, question;
        var address = bar.dataset.many + "/" + verb;
        if (button.dataset.of === "ids") {
            body.ids = chosen();
            if (!body.ids.length) {
                announce("None is chosen: tick those you mean.", true);
                return;
            }
            question = (verb === "purge" ? "Delete " : "Run again ") + body.ids.length + " dead letters?";
        } else {
            body.filters = JSON.parse(bar.dataset.filters);
            body.before = bar.dataset.before;
            var names = Object.keys(body.filters);
            question = (verb === "purge" ? "Delete every dead letter" : "Run every dead letter again") +
                (names.length ? " with " + names.map(function (name) { return name + " \u201c" + body.filters[name] + "\u201d"; }).join(", ") : ", without any filter") +
                "? Those that have died since this page was loaded are left alone.";
        }
        var wants = {
            label: verb === "purge" ? "Purge" : "Replay",
            look: verb === "purge" ? "danger" : "primary",
            word: button.dataset.of === "filters" || verb === "purge" ? verb : "",
            rate: verb === "replay",
            done: verb === "purge" ? "purged" : "replayed",
            act: function (filled) {
                var line = announce("Working…", false), total = {done: 0, gone: 0};
                return batches(address, Object.assign({}, body, filled), line, wants, total)
                    .then(function () { return line.textContent; }, function (error) {
                        throw new Error(error.message + (total.done ? " Before that, " + total.done + " were " + wants.done + "." : ""));
                    })
                    .finally(function () {
                        line.remove();
                        lookNow();
                    });
            }
        };
        button.disabled = true;
        send(address, Object.assign({dry_run: true}, body)).then(function (would) {
            if (!would.count) {
                announce(would.message, true);
                return null;
            }
            wants.figures = would.message;
            return ask(question, wants);
        }).then(function (words) {
            if (words) {
                announce(words, false);
            }
        }).catch(function (error) {
            announce(error.message, true);
        }).finally(function () {
            button.disabled = false;
        });
    }

    document.addEventListener("click", function (event) {
        var button = event.target.closest("button");
        if (button && "do" in button.dataset) {
            press(button);
        } else if (button && "bulk" in button.dataset) {
            pressMany(button);
        }
    });
    document.addEventListener("change", function (event) {
        if (event.target.id === "dispatch-all") {
            live.querySelectorAll("input[name=letter]").forEach(function (box) { box.checked = event.target.checked; });
        }
    });
    document.addEventListener("visibilitychange", function () {
        if (!document.hidden && failures >= 0) {
            later(0);
        }
    });

    tellTimes(document);
    setInterval(function () { tellTimes(live); }, 1000);
    later(600);
}());
