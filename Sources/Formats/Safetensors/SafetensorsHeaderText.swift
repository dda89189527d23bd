internal import Bytes
internal import TensorModel

/// The header of a safetensors file: its length, the JSON text, and spaces up to a multiple of eight
/// bytes.
struct SafetensorsHeaderText: HeaderText {
  private let tensors: StoredTensors
  private let members: [Int32]  // indices of tensors, in the order of the file
  private let pairs: [JSONValue.Member]  // the metadata
  private var textByteCount = 0

  init(_ tensors: StoredTensors, _ members: [Int32], _ pairs: [JSONValue.Member]) {
    self.tensors = tensors
    self.members = members
    self.pairs = pairs
    var json = JSONWriter(countingOnly: true)
    writeText(to: &json) { _ in }
    textByteCount = json.byteCount
  }

  var byteCount: Int { 8 + textByteCount.aligned(to: 8) }

  func write<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
    var length: [UInt8] = []
    length.append(littleEndian: UInt64(byteCount - 8))
    try body(length)
    var json = JSONWriter()
    try writeText(to: &json, body)
    try body(
      json.bytes + Array(repeating: UInt8(ascii: " "), count: byteCount - 8 - textByteCount))
  }

  private func writeText<Failure: Error>(
    to json: inout JSONWriter, _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    json.write(literal: "{")
    if !pairs.isEmpty {
      json.write(literal: "\"__metadata__\":")
      json.write(.object(pairs))
    }
    var (offset, isFirst) = (0, pairs.isEmpty)
    for index in members {
      let tensor = tensors[Int(index)]
      guard case .plain(let type) = tensor.encoding else { continue }
      if !isFirst { json.write(literal: ",") }
      isFirst = false
      json.write(string: tensor.name)
      json.write(literal: ":{\"dtype\":\"")
      json.write(literal: type.name)
      json.write(literal: "\",\"shape\":")
      json.write(counts: tensor.shape.dimensions)
      json.write(literal: ",\"data_offsets\":")
      json.write(counts: [offset, offset + tensor.byteCount])
      offset += tensor.byteCount
      json.write(literal: "}")
      try json.takePiece(body)
    }
    json.write(literal: "}")
  }
}
