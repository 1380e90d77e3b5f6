/// What the machine knows of texts that stand in a secret's place: a file that is there is a path, and a variable that is there
/// is a name, whatever they look like.
struct Surroundings {
    /// The names of the environment's variables, in lower case.
    var variables: Set<String> = []
    /// Whether something is at that path of the file.
    var isThere: (String) -> Bool = { _ in false }

    /// Whether a text in the place of a variable's name is one, and not the secret.
    func isVariableName(_ text: String) -> Bool {
        PlainTexts.isVariableName(text) || variables.contains(text.lowercased())
    }

    /// Whether a text in the place of the path of a secret's file is one, and not the secret. What a variable may have put
    /// into it is not looked for.
    func isPath(_ text: String) -> Bool {
        PlainTexts.isPathOfSecret(text)
            || PlainTexts.isHarmless(text, mayNameUsers: true) && text.range(ofFirst: "${") == nil
                && isThere(text)
    }
}
