import Bytes
import Formats
import TensorModel
import TestSupport

/// The description of a model in a `.json` file of the golden fixtures.
struct GoldenDescription {
  /// A tensor as the reference reader sees it.
  struct Tensor {
    var name: String
    var type: String
    var shape: [Int]
    var hash: String
    var floatHash: String?
  }

  var tensors: [Tensor] = []
  var metadata: [(key: String, type: String, value: JSONValue)] = []

  private static func document(_ path: String) throws -> JSONValue {
    try JSONParser.parse(try Fixtures.bytes(path), file: path)
  }

  /// The description of a model in `golden/safetensors`, with its shards in order.
  init(safetensors name: String) throws {
    let document = try Self.document("golden/safetensors/\(name).json")
    let isFolder = Fixtures.isFolder("golden/safetensors/\(name)")
    for shard in isFolder ? (document.members ?? []).map(\.value) : [document] {
      add(safetensors: shard)
    }
  }

  private mutating func add(safetensors shard: JSONValue) {
    for pair in shard["metadata"]?.members ?? []
    where !metadata.contains(where: { $0.key == pair.key }) {
      metadata.append((pair.key, "string", pair.value))
    }
    let entries = (shard["tensors"]?.array ?? []).map { tensor in
      (tensor, (tensor["dataOffsets"]?.array ?? []).map { $0.int ?? -1 })
    }
    // A description has the order of the header; Pleat has the order of the bytes.
    let sorted = entries.sorted { $0.1.lexicographicallyPrecedes($1.1) }
    tensors += sorted.map { Self.tensor($0.0, type: "dtype") }
  }

  /// The description of a model in `golden/gguf`.
  init(gguf name: String) throws {
    let document = try Self.document("golden/gguf/\(name).json")
    tensors = (document["tensors"]?.array ?? []).map { Self.tensor($0, type: "type") }
    metadata = (document["metadata"]?.array ?? []).map {
      ($0["key"]?.string ?? "", $0["type"]?.string ?? "", $0["value"] ?? .null)
    }
  }

  private static func tensor(_ value: JSONValue, type: String) -> Tensor {
    Tensor(
      name: value["name"]?.string ?? "", type: value[type]?.string ?? "",
      shape: (value["shape"]?.array ?? []).map { $0.int ?? -1 },
      hash: value["sha256"]?.string ?? "", floatHash: value["float32"]?.string)
  }
}

extension MetadataValue {
  /// The name of the type in descriptions, such as `u32[]`.
  var goldenType: String {
    if case .array(let array) = self { "\(array.elementType)[]" } else { "\(type)" }
  }

  /// The value as in descriptions: 64-bit integers are text.
  var golden: JSONValue {
    switch self {
    case .unsigned(let value, .u64): .string("\(value)")
    case .unsigned(let value, _): .integer(Int64(value))
    case .signed(let value, .i64): .string("\(value)")
    case .signed(let value, _): .integer(value)
    case .float(let value): .number(Double(value))
    case .double(let value): .number(value)
    case .bool(let value): .bool(value)
    case .string: .string(text ?? "not a text")
    case .array(let array): .array(array.golden)
    }
  }
}

extension MetadataArray {
  /// The elements, decoded from their bytes one by one.
  fileprivate var golden: [JSONValue] {
    var offset = 0
    func next(_ width: Int) -> UInt64 {
      defer { offset += width }
      return (0..<width).reduce(0) { $0 | UInt64(bytes[offset + $1]) << (8 * $1) }
    }
    return (0..<count).map { _ in
      switch elementType {
      case .string:
        let length = Int(next(8))
        defer { offset += length }
        return .string(String(decoding: bytes[offset..<offset + length], as: UTF8.self))
      case .f32: return .number(Double(Float(bitPattern: UInt32(next(4)))))
      case .f64: return .number(Double(bitPattern: next(8)))
      case .bool: return .bool(next(1) != 0)
      case .i8: return .integer(Int64(Int8(truncatingIfNeeded: next(1))))
      case .i16: return .integer(Int64(Int16(truncatingIfNeeded: next(2))))
      case .i32: return .integer(Int64(Int32(truncatingIfNeeded: next(4))))
      case .i64: return .string("\(Int64(bitPattern: next(8)))")
      case .u64: return .string("\(next(8))")
      case .u8: return .integer(Int64(next(1)))
      case .u16: return .integer(Int64(next(2)))
      case .u32: return .integer(Int64(next(4)))
      case .array: return .null
      }
    }
  }
}

extension JSONValue {
  /// The value with integers as floating-point numbers, so that `1` equals `1.0`.
  var normalised: JSONValue {
    switch self {
    case .integer(let value): .number(Double(value))
    case .array(let values): .array(values.map(\.normalised))
    default: self
    }
  }
}
