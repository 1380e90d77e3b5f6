extension RouteReader {
    /// The page that browsers are sent to: an absolute URL, or a path of the same origin.
    func signIn(_ authentication: RouteAuthentication?) -> String? {
        guard let page = section.string("sign_in") else { return nil }
        if authentication == .open {
            section.loader.error(
                page.position, "\"sign_in\" on a route with auth = \"none\": nobody is asked there")
            return nil
        }
        guard let url = Self.url(page.value) else {
            section.loader.error(
                page.position,
                "\"sign_in\" must be a URL such as \"https://app.example.com/sign-in\", or a path such as "
                    + "\"/sign-in\", without fragment, not \"\(page.value)\"")
            return nil
        }
        if page.value.hasPrefix("http://"), !url.isLoopback {
            section.loader.warning(
                page.position, "\"sign_in\" is not encrypted: people would sign in over plain HTTP")
        }
        return page.value
    }

    private static func url(_ text: String) -> RemoteURL? {
        guard !text.hasPrefix("/") else { return RemoteURL("http://localhost")?.following(text) }
        guard text.hasPrefix("https://") || text.hasPrefix("http://") else { return nil }
        return RemoteURL(text)
    }
}
