package report

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// browsers are the names of programs that can lay out a page without a screen.
var browsers = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

func findBrowser(t *testing.T) string {
	t.Helper()
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skipf("SKIPPED: the page's layout is not checked, since none of %s is installed", strings.Join(browsers, ", "))
	return ""
}

// probe shows the page in a frame of the given width and writes down what
// reaches beyond the frame.
const probe = `<!doctype html><html><head><title>probe</title><link rel="icon" href="data:,"></head><body style="margin:0">
<iframe id="page" src="/report" style="border:0;width:%[1]dpx;height:900px"></iframe><pre id="out">not measured</pre>
<script>
window.onload = () => {
  const doc = document.getElementById("page").contentDocument;
  const wide = [];
  for (const e of doc.querySelectorAll("main *:not(thead, thead *)")) {
    const r = e.getBoundingClientRect();
    if (r.width > 0 && (r.right > %[1]d + 0.5 || r.left < -0.5)) wide.push(e.tagName + "." + e.getAttribute("class") + ":" + Math.round(r.right));
  }
  const root = doc.documentElement;
  document.getElementById("out").textContent = "over=" + (root.scrollWidth - root.clientWidth) + " wide=[" + wide.slice(0, 8).join(" ") + "]" +
    " fold=" + Math.round(Array.from(doc.querySelectorAll(".verdict .figure")).slice(0, 4).reduce((y, e) => Math.max(y, e.getBoundingClientRect().bottom), 0));
};
</script></body></html>`

var probed = regexp.MustCompile(`over=([0-9-]+) wide=\[(.*?)\] fold=([0-9]+)`)

// screens are the heights of the screens of these widths: of a small phone and
// of a laptop.
var screens = map[int]int{360: 640, 1440: 800}

// TestLayout opens pages in a browser: nothing reaches beyond the screen at
// the widths of a phone and of a desk, the console stays empty, and nothing is
// requested but the page. The four answers that come first are on the first
// screen.
func TestLayout(t *testing.T) {
	browser := findBrowser(t)
	pages := odd()
	for _, name := range []string{"sample", "hostile", "nan row"} {
		for width := range screens {
			t.Run(fmt.Sprintf("%s/%d", name, width), func(t *testing.T) {
				var lock sync.Mutex
				var requested []string
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					lock.Lock()
					requested = append(requested, r.URL.Path)
					lock.Unlock()
					w.Header().Set("Content-Type", "text/html; charset=utf-8")
					switch r.URL.Path {
					case "/":
						fmt.Fprintf(w, probe, width)
					case "/report":
						if err := Write(w, pages[name]); err != nil {
							t.Error(err)
						}
					}
				}))
				defer server.Close()
				dom, log := dump(t, browser, server.URL+"/")
				m := probed.FindStringSubmatch(dom)
				if m == nil {
					t.Fatalf("the page was not measured: %s", log)
				}
				if m[1] != "0" || m[2] != "" {
					t.Errorf("on a screen of %d pixels the page is %s too wide; beyond the edge: %s", width, m[1], m[2])
				}
				if fold, err := strconv.Atoi(m[3]); err != nil || fold > screens[width] {
					t.Errorf("the four answers reach down to %s of a screen of %d pixels", m[3], screens[width])
				}
				for line := range strings.Lines(log) {
					if strings.Contains(line, "CONSOLE") {
						t.Errorf("browser's console: %s", line)
					}
				}
				lock.Lock()
				defer lock.Unlock()
				if got := strings.Join(requested, " "); got != "/ /report" {
					t.Errorf("requested %s, want the page alone", got)
				}
			})
		}
	}
}

// dump returns the document at the address once it is loaded, and what the
// browser wrote to standard error, its console included.
func dump(t *testing.T, browser, url string) (dom, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	profile, err := os.MkdirTemp("", "report-browser-*")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(profile) // helpers of the browser may still hold files
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-dev-shm-usage", "--no-proxy-server", "--enable-logging=stderr", "--user-data-dir="+profile,
		"--window-size=1500,1000", "--virtual-time-budget=5000", "--dump-dom", url)
	cmd.WaitDelay = 5 * time.Second // helpers may hold the pipes open
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s", browser, err, stderr.String())
	}
	return stdout.String(), stderr.String()
}
