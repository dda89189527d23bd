import Formats
import Kernels
import TestSupport

/// Pleat files with a given header and valid checksums.
enum PleatText {
  /// A part without bytes.
  static let nothing = #"{"offset":64,"length":0,"crc32c":"00000000"}"#

  /// Metadata without entries.
  static let noMetadata = #""metadata":{"count":0,"offset":64,"length":0,"crc32c":"00000000"}"#

  /// A file of the preamble, `body`, and the header.
  static func file(header: String, body: [UInt8] = []) -> [UInt8] {
    let text = Array(header.utf8)
    let headerOffset = 64 + body.count
    var preamble: [UInt8] = [0x89] + Array("PLEAT\r\n".utf8)
    preamble += Numbers.little(UInt16(1)) + Numbers.little(UInt16(0))
    preamble += Numbers.little(CRC32C(of: text.span).value)
    preamble += Numbers.little(UInt64(headerOffset)) + Numbers.little(UInt64(text.count))
    preamble += Numbers.little(UInt64(headerOffset + text.count))
    preamble += [UInt8](repeating: 0, count: 60 - preamble.count)
    preamble += Numbers.little(CRC32C(of: preamble.span).value)
    return preamble + body + text
  }

  /// A file with one tensor, given by its members without the name.
  static func file(tensor members: String, body: [UInt8] = []) -> [UInt8] {
    file(
      header: #"{"requires":[],"writer":"test","companions":[],\#(noMetadata),"#
        + #""tensors":[{"name":"a.weight",\#(members)}],"adapters":[],"provenance":{}}"#,
      body: body)
  }

  /// The checksum of bytes as it is written in a header.
  static func checksum(_ bytes: [UInt8]) -> String { CRC32C(of: bytes.span).text }

  /// The header of a pleat file, and the bytes between preamble and header.
  static func parts(of file: [UInt8]) -> (header: String, body: [UInt8]) {
    let offset = (0..<8).reduce(0) { $0 | Int(file[16 + $1]) << (8 * $1) }
    return (String(decoding: file[offset...], as: UTF8.self), Array(file[64..<offset]))
  }
}
