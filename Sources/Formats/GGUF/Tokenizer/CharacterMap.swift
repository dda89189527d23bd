internal import TensorModel

/// The table by which SentencePiece normalizes characters: `precompiled_charsmap`.
///
/// It is a length in bytes, a double array of 32-bit units, and texts that end with a zero byte. A
/// unit has the offset of its children in bits 10 to 30, doubled eight times if bit 9 is set; the
/// label in bits 0 to 7; whether a text ends here in bit 8; or, with bit 31, the place of a
/// replacement.
package struct CharacterMap: Sendable {
  /// The table, as a file has it.
  let bytes: [UInt8]
  private let unitCount: Int

  /// Checks the lengths of a table; nil for a table that llama.cpp refuses.
  init?(_ bytes: [UInt8]) {
    guard bytes.count > 4 else { return nil }
    self.bytes = bytes
    let length = bytes[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length % 4 == 0, length > 0, length + 4 < bytes.count, bytes.last == 0 else {
      return nil
    }
    unitCount = length / 4
  }

  /// Reads a table from text in base 64; nil for other text and for a table that llama.cpp refuses.
  package init?(base64 text: String) {
    guard let bytes = Base64.decoded(text.utf8) else { return nil }
    self.init(bytes)
  }

  /// The table in the metadata of a GGUF file; nil if there is none.
  ///
  /// Throws `malformed` for a damaged table.
  static func stated(in metadata: Metadata) throws(ModelError) -> CharacterMap? {
    let key = "tokenizer.ggml.precompiled_charsmap"
    guard let value = metadata[key] else { return nil }
    guard case .array(let list) = value, [.u8, .i8].contains(list.elementType),
      let map = CharacterMap(Array(list.bytes))
    else { throw ModelError(.malformed, "the table of characters is damaged", tensor: key) }
    return map
  }

  /// What replaces a text of one character; nil if it stays as it is.
  func replacement(of text: String) -> [UInt8]? {
    guard var index = unit(0).map(Self.offset) else { return nil }
    var found: Int?
    for byte in text.utf8 {
      index ^= Int(byte)
      guard let unit = unit(index), unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
      index ^= Self.offset(unit)
      found = unit >> 8 & 1 == 1 ? self.unit(index).map { Int($0 & 0x7FFF_FFFF) } : nil
    }
    return found.flatMap(replacement)
  }

  /// What replaces a text that begins with an entry of the table, of several the shortest one.
  ///
  /// Nil if there is none. Hugging Face's tokenizers look up texts in this way.
  package func replacement(ofPrefixOf text: ArraySlice<UInt8>) -> [UInt8]? {
    guard var index = unit(0).map(Self.offset) else { return nil }
    for byte in text {
      guard byte != 0 else { return nil }
      index ^= Int(byte)
      guard let unit = unit(index), unit & (1 << 31 | 0xFF) == UInt32(byte) else { return nil }
      index ^= Self.offset(unit)
      guard unit >> 8 & 1 == 1 else { continue }
      return self.unit(index).flatMap { replacement(at: Int($0 & 0x7FFF_FFFF)) }
    }
    return nil
  }

  /// What replaces the longest entry of the table with which a text goes on at a place, and its length.
  ///
  /// Nil if there is none. llama.cpp looks up texts in this way.
  package func replacement(
    ofLongestPrefixOf text: [UInt8], from start: Int
  ) -> (text: [UInt8], length: Int)? {
    guard var index = unit(0).map(Self.offset) else { return nil }
    var found: (place: Int, length: Int)?
    for place in start..<text.count {
      let byte = text[place]
      guard byte != 0 else { break }
      index ^= Int(byte)
      guard let unit = unit(index), unit & (1 << 31 | 0xFF) == UInt32(byte) else { break }
      index ^= Self.offset(unit)
      guard unit >> 8 & 1 == 1, let leaf = self.unit(index) else { continue }
      found = (Int(leaf & 0x7FFF_FFFF), place - start + 1)
    }
    guard let found, let text = replacement(at: found.place) else { return nil }
    return (text, found.length)
  }

  private func replacement(at place: Int) -> [UInt8]? {
    guard place < bytes.count - 4 - 4 * unitCount else { return nil }
    return Array(bytes[(4 + 4 * unitCount + place)...].prefix { $0 != 0 })
  }

  private func unit(_ index: Int) -> UInt32? {
    guard index < unitCount else { return nil }
    let place = 4 + 4 * index
    return UInt32(bytes[place]) | UInt32(bytes[place + 1]) << 8 | UInt32(bytes[place + 2]) << 16
      | UInt32(bytes[place + 3]) << 24
  }

  private static func offset(_ unit: UInt32) -> Int {
    Int(unit >> 10) << Int((unit & 1 << 9) >> 6)
  }
}
