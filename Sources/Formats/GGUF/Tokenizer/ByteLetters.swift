/// The letters that stand for bytes in the tokens of byte-level tokenizers, as GPT-2 has them.
///
/// A byte that is a printed character of Latin-1 stands for itself. The others are the letters from
/// U+0100 on, in the order of the bytes.
package enum ByteLetters {
  private static let letters: [[UInt8]] = {
    var next: UInt32 = 0x100
    return (UInt8.min...UInt8.max).map { byte in
      if (0x21...0x7E).contains(byte) { return [byte] }
      var scalar = UInt32(byte)
      if !(0xA1...0xAC).contains(byte), byte < 0xAE {
        scalar = next
        next += 1
      }
      // All of these letters have two bytes in UTF-8.
      return [0xC0 | UInt8(scalar >> 6), 0x80 | UInt8(scalar & 0x3F)]
    }
  }()

  private static let bytes: [UInt32: UInt8] = {
    var bytes: [UInt32: UInt8] = [:]
    for (byte, letter) in letters.enumerated() {
      let scalar = String(decoding: letter, as: UTF8.self).unicodeScalars.first
      if let scalar { bytes[scalar.value] = UInt8(byte) }
    }
    return bytes
  }()

  /// The bytes that the letters of a text stand for; nil if another letter is among them.
  package static func bytes(of text: ArraySlice<UInt8>) -> [UInt8]? {
    var found: [UInt8] = []
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
      guard let byte = bytes[scalar.value] else { return nil }
      found.append(byte)
    }
    return found
  }

  /// The letters for bytes, in UTF-8.
  package static func text(of bytes: ArraySlice<UInt8>) -> [UInt8] {
    bytes.flatMap { letters[Int($0)] }
  }
}
