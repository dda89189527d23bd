package import Bytes
package import TensorModel

/// Access to the companion files of a model by their names.
package struct CompanionReader {
  /// The names of the files that can be read.
  package let names: [String]
  private let read: (String) throws(ModelError) -> [UInt8]?
  private let path: (String) -> String
  private let revised: (String, JSONValue) -> JSONValue

  /// Creates access to files.
  ///
  /// - Parameters:
  ///   - names: The names of the files.
  ///   - path: What messages call a file, given its name.
  ///   - revised: What a document means, given its name, if that is not what it states.
  ///   - read: Reads a file; returns nil if there is none with the name.
  package init(
    names: [String], path: @escaping (String) -> String = { $0 },
    revised: @escaping (String, JSONValue) -> JSONValue = { $1 },
    read: @escaping (String) throws(ModelError) -> [UInt8]?
  ) {
    self.names = names
    self.path = path
    self.revised = revised
    self.read = read
  }

  /// What messages call a file.
  package func path(of name: String) -> String { path(name) }

  /// What a document means, given its name.
  package func revised(_ name: String, _ document: JSONValue) -> JSONValue {
    revised(name, document)
  }

  /// The bytes of a file; nil if there is none with the name.
  ///
  /// Throws what reading throws.
  package func bytes(of name: String) throws(ModelError) -> [UInt8]? { try read(name) }

  /// The text of a file; nil if there is none with the name.
  ///
  /// Throws `malformed` for a text that is not UTF-8, and what reading throws.
  func text(of name: String) throws(ModelError) -> String? {
    guard let bytes = try read(name) else { return nil }
    if let text = String(validating: bytes, as: UTF8.self) { return text }
    throw ModelError(.malformed, "the text is not UTF-8", file: path(name))
  }

  /// The JSON document in a file; nil if there is none with the name.
  ///
  /// Numbers may be `NaN` and infinite, as Python writes them. Throws `malformed` for a text that is
  /// not JSON, and what reading throws.
  package func document(_ name: String) throws(ModelError) -> JSONValue? {
    guard let bytes = try read(name) else { return nil }
    return revised(name, try JSONParser.parse(bytes, file: path(name), allowingNonFinite: true))
  }

  /// The JSON object in a file; an empty object if there is no file with the name.
  ///
  /// Throws `malformed` for anything else than an object, and what reading throws.
  package func object(_ name: String) throws(ModelError) -> JSONValue {
    guard let value = try document(name) else { return .object([]) }
    guard value.members != nil else {
      throw ModelError(
        .malformed, "the file does not contain an object", file: path(name), found: value.kind)
    }
    return value
  }

  /// The tokenizer in tokenizer.json, with the tokens that other files add; nil if there is none.
  ///
  /// Throws what reading the files throws.
  func fastTokenizer() throws(ModelError) -> FastTokenizer? {
    do throws(ModelError) {
      guard let bytes = try read(FastTokenizer.file) else { return nil }
      var tokenizer = try FastTokenizer(bytes)
      try addTokens(to: &tokenizer)
      return tokenizer
    } catch {
      throw located(error)
    }
  }

  /// The number of tokens in tokenizer.json, and those that other files add, beyond some rows.
  ///
  /// Throws what reading the files throws.
  package func tokenCount(beyond rowCount: Int) throws(ModelError) -> Int {
    guard let tokenizer = try fastTokenizer() else { return 0 }
    return Set(tokenizer.ids + tokenizer.addedTokens.map(\.id)).count { $0 >= rowCount }
  }

  /// The error with the path of a file instead of its name.
  package func located(_ error: ModelError) -> ModelError {
    guard let name = error.file, names.contains(name) else { return error }
    var error = error
    error.file = path(name)
    return error
  }
}
