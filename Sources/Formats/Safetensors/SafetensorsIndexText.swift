internal import Bytes
internal import TensorModel

/// The text of an index, as transformers writes it: sorted keys, two spaces for each level.
struct SafetensorsIndexText: HeaderText {
  private let tensors: StoredTensors
  private let offsets: TensorOffsets
  private let fileNames: [String]
  let byteCount: Int

  init(_ tensors: StoredTensors, _ offsets: TensorOffsets, _ fileNames: [String]) {
    self.tensors = tensors
    self.offsets = offsets
    self.fileNames = fileNames
    var json = JSONWriter(countingOnly: true)
    Self.write(tensors, 0..<tensors.count, offsets, fileNames, to: &json) { _ in }
    byteCount = json.byteCount
  }

  func write<Failure: Error>(_ body: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
    var json = JSONWriter()
    let sorted = tensors.sortedByName(0..<tensors.count).lazy.map { Int($0) }
    try Self.write(tensors, sorted, offsets, fileNames, to: &json, body)
    try json.take(body)
  }

  private static func write<Failure: Error>(
    _ tensors: StoredTensors, _ order: some Sequence<Int>, _ offsets: TensorOffsets,
    _ fileNames: [String], to json: inout JSONWriter,
    _ body: ([UInt8]) throws(Failure) -> Void
  ) throws(Failure) {
    json.write(literal: "{\n  \"metadata\": {\n    \"total_size\": ")
    json.write(count: tensors.reduce(0) { $0 + $1.byteCount })
    json.write(literal: "\n  },\n  \"weight_map\": {")
    var isFirst = true
    for index in order {
      json.write(literal: isFirst ? "\n    " : ",\n    ")
      isFirst = false
      json.write(string: tensors[index].name)
      json.write(literal: ": ")
      json.write(string: fileNames[offsets.location(of: index).file])
      try json.takePiece(body)
    }
    json.write(literal: "\n  }\n}\n")
  }
}
