package import TensorModel
package import Tokens

/// Whether a token that begins texts comes first.
public enum TextBeginning: String, Sendable, CaseIterable {
  /// As the tokenizer states.
  case auto
  /// The token that begins texts comes first.
  case yes
  /// Nothing is added.
  case no
}

extension Tokenizer {
  /// The token that comes before a text for a model to continue; nil for none.
  ///
  /// With `auto` it is the only token that the tokenizer adds before texts. Throws `usage` with `yes`
  /// if no file says which token begins texts.
  package func beginID(_ beginning: TextBeginning, file: String) throws(ModelError) -> Int32? {
    switch beginning {
    case .no: return nil
    case .auto:
      guard let id = beginID, usualStart == [id] else { return nil }
      return id
    case .yes:
      if let beginID { return beginID }
      throw ModelError(
        .usage, "no file says which token begins texts", file: file, found: "--bos yes")
    }
  }
}
