/// What went wrong, where, what was expected and found, and what to do next.
///
/// Printed by the command as `error: file: tensor: what`, then `expected`, `found` and `hint`.
public struct ModelError: Error, Sendable, Hashable {
  /// Whose fault it is.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// The machine: a file is missing, a disk is full.
    case io
    /// The file does not follow its format.
    case malformed
    /// The file is valid, and Pleat cannot do what is asked of it.
    case unsupported
    /// Inputs do not belong together.
    case mismatch
    /// The file asks for more than the limits allow.
    case limit
    /// The caller asked for something that makes no sense.
    case usage
    /// The caller asked to stop.
    case interrupted
  }

  /// Whose fault it is.
  public var kind: Kind
  /// What is wrong, in one clause, lower case, no full stop.
  public var what: String
  /// The path concerned.
  public var file: String?
  /// The tensor concerned, or the part or key.
  public var tensor: String?
  /// The byte offset in the file.
  public var offset: Int?
  /// What should have been there.
  public var expected: String?
  /// What was there.
  public var found: String?
  /// The next step for the user.
  public var hint: String?

  /// An error; add coordinates as far as they are known.
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

  /// The same error with coordinates where it has none yet.
  public func located(file: String? = nil, tensor: String? = nil) -> ModelError {
    var error = self
    error.file = error.file ?? file
    error.tensor = error.tensor ?? tensor
    return error
  }
}

extension ModelError: CustomStringConvertible {
  /// One line with everything known; control characters of names are not escaped here.
  public var description: String {
    var text = ([file, tensor].compactMap { $0 } + [what]).joined(separator: ": ")
    if let offset { text += " at byte \(offset)" }
    if let expected { text += ", expected \(expected)" }
    if let found { text += ", found \(found)" }
    if let hint { text += " (\(hint))" }
    return text
  }
}
