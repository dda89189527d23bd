internal import TensorModel

/// Errors about a chat template, with the line in its text.
enum TemplateFault {
  /// The template is not Jinja, or computes something that Jinja refuses, too.
  static func malformed(_ what: String, _ line: Int, found: String? = nil) -> ModelError {
    ModelError(.malformed, what, tensor: place(line), found: found, hint: hint)
  }

  /// The template is Jinja, but needs something that Pleat does not compute.
  static func unsupported(_ what: String, _ line: Int, found: String? = nil) -> ModelError {
    ModelError(.unsupported, what, tensor: place(line), found: found, hint: hint)
  }

  /// The template takes more work or memory than is allowed.
  static func limit(_ what: String, _ line: Int, expected: String) -> ModelError {
    ModelError(.limit, what, tensor: place(line), expected: expected, hint: hint)
  }

  /// The template itself refuses the messages.
  static func refusal(_ message: String, _ line: Int) -> ModelError {
    ModelError(
      .usage, "the chat template refuses the messages", tensor: place(line), found: message,
      hint: hint)
  }

  /// The template writes the current date, which nobody stated.
  static func missingDate(_ line: Int) -> ModelError {
    ModelError(
      .usage, "the chat template writes the current date", tensor: place(line),
      expected: "a date for strftime_now", found: "none",
      hint: "--date YYYY-MM-DD states it; \(hint)")
  }

  private static func place(_ line: Int) -> String { "chat_template, line \(line)" }
  private static let hint = "--raw continues the prompt as it is written"
}
