/// What went wrong, where, what was expected and found, and what to do next.
///
/// The command prints `error: file: tensor: what`, then `expected`, `found` and `hint`.
public struct ModelError: Error, Sendable, Hashable {
  /// The cause of an error.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Reading or writing failed: a file is missing, or a disk is full.
    case io
    /// The file does not follow its format.
    case malformed
    /// The file is valid, but Pleat does not support what is asked for.
    case unsupported
    /// The inputs do not belong together.
    case mismatch
    /// The file exceeds a limit.
    case limit
    /// The request is invalid.
    case usage
    /// The caller asked to stop.
    case interrupted
  }

  /// The cause of the error.
  public var kind: Kind
  /// What is wrong, in one clause, lower case, no full stop.
  public var what: String
  /// The path concerned.
  public var file: String?
  /// The tensor, part or metadata key concerned.
  public var tensor: String?
  /// The byte offset in the file.
  public var offset: Int?
  /// What was expected.
  public var expected: String?
  /// What was found instead.
  public var found: String?
  /// The next step for the user.
  public var hint: String?

  /// Creates an error with as much of its location as is known.
  public init(
    _ kind: Kind, _ what: String, file: String? = nil, tensor: String? = nil, offset: Int? = nil,
    expected: String? = nil, found: String? = nil, hint: String? = nil
  ) {
    self.kind = kind
    self.what = what
    self.file = file
    self.tensor = tensor
    self.offset = offset
    self.expected = expected
    self.found = found
    self.hint = hint
  }

  /// The same error with the file and the tensor filled in if they are missing.
  public func located(file: String? = nil, tensor: String? = nil) -> ModelError {
    var error = self
    error.file = error.file ?? file
    error.tensor = error.tensor ?? tensor
    return error
  }
}

extension ModelError: CustomStringConvertible {
  /// One line with all fields; control characters in names are not escaped.
  public var description: String {
    var text = ([file, tensor].compactMap { $0 } + [what]).joined(separator: ": ")
    if let offset { text += " at byte \(offset)" }
    if let expected { text += ", expected \(expected)" }
    if let found { text += ", found \(found)" }
    if let hint { text += " (\(hint))" }
    return text
  }
}
