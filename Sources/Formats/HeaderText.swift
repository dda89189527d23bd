internal import Bytes
internal import TensorModel

/// Text of a file that follows from the plan of an output, and is made when it is needed.
///
/// With 400,000 tensors it takes 60 MB.
package protocol HeaderText: Sendable {
  /// The length in bytes.
  var byteCount: Int { get }
  /// Passes the bytes to `body`, piece by piece.
  func write<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure)
}

/// The first bytes of a file of an output.
package struct FileHeader: Sendable {
  /// The name of the file.
  package var name: String
  /// The bytes.
  package var text: any HeaderText
}

/// A header that is kept in memory.
struct HeaderBytes: HeaderText {
  var bytes: [UInt8]

  var byteCount: Int { bytes.count }

  func write<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
    try body(bytes)
  }
}

extension HeaderText {
  /// All bytes.
  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(byteCount)
    write { bytes += $0 }
    return bytes
  }
}

extension JSONWriter {
  private static let pieceByteCount = 1 << 18

  /// Writes an array of numbers such as the extents of a shape.
  mutating func write(counts: [Int]) {
    write(literal: "[")
    for (index, count) in counts.enumerated() {
      if index > 0 { write(literal: ",") }
      write(count: count)
    }
    write(literal: "]")
  }

  /// Passes the text so far to `body`, if it is worth a call.
  mutating func takePiece<Failure: Error>(
    _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    if bytes.count >= Self.pieceByteCount { try take(body) }
  }
}

extension OutputFile {
  /// Writes a text at an offset.
  ///
  /// Throws `io`.
  func write(_ text: any HeaderText, at offset: Int) throws(ModelError) {
    var offset = offset
    try text.write { (bytes) throws(ModelError) in
      try write(bytes, at: offset)
      offset += bytes.count
    }
  }
}
