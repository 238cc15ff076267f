// Loads a SavedModel as TF Serving does and runs every signature of it.
//
//   load_saved_model MODEL REQUESTS
//   load_saved_model MODEL REQUESTS refused
//
// Input X of signature S is read from REQUESTS/S/X: a line with the dimensions, then the elements, little-endian; of
// strings, each as its length in 8 bytes and its bytes. REQUESTS/S/X.float has floats whatever the signature says.
// Writes one line per output: signature, output, number of dimensions, dimensions, values (strings in hexadecimal).
//
// With `refused`, REQUESTS/C/S/X is an input of case C, which must end in an error; writes the case, the code and the
// message of each.

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/cc/saved_model/loader.h"
#include "tensorflow/core/framework/tensor.h"

using tensorflow::Tensor;
using tensorflow::TensorShape;
namespace fs = std::filesystem;

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "error: %s\n", what.c_str());
  std::exit(1);
}

void Check(const tensorflow::Status& status, const std::string& what) {
  if (!status.ok()) Fail(what + ": " + status.ToString());
}

Tensor ReadInput(const std::string& path, tensorflow::DataType dtype) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    file.open(path + ".float", std::ios::binary);
    dtype = tensorflow::DT_FLOAT;
  }
  if (!file) Fail("there is no " + path);
  std::string line;
  std::getline(file, line);
  std::istringstream dimensions(line);
  TensorShape shape;
  for (int64_t size; dimensions >> size;) shape.AddDim(size);
  Tensor tensor(dtype, shape);
  if (dtype == tensorflow::DT_STRING) {
    auto values = tensor.flat<tensorflow::tstring>();
    for (int64_t i = 0; i < values.size(); ++i) {
      uint64_t length = 0;
      file.read(reinterpret_cast<char*>(&length), sizeof length);
      std::string bytes(file ? length : 0, '\0');
      file.read(&bytes[0], bytes.size());
      if (!file) Fail(path + " is too short");
      values(i) = bytes;
    }
    return tensor;
  }
  char* data = const_cast<char*>(tensor.tensor_data().data());
  if (!file.read(data, tensor.tensor_data().size())) Fail(path + " is too short");
  return tensor;
}

void WriteOutput(const std::string& signature, const std::string& name, const Tensor& tensor) {
  std::printf("%s %s %d", signature.c_str(), name.c_str(), tensor.dims());
  for (int i = 0; i < tensor.dims(); ++i) std::printf(" %lld", static_cast<long long>(tensor.dim_size(i)));
  if (tensor.dtype() == tensorflow::DT_STRING) {
    const auto values = tensor.flat<tensorflow::tstring>();
    for (int64_t i = 0; i < values.size(); ++i) {
      std::printf(" x");
      for (unsigned char c : std::string(values(i))) std::printf("%02x", c);
    }
  } else if (tensor.dtype() == tensorflow::DT_FLOAT) {
    const auto values = tensor.flat<float>();
    for (int64_t i = 0; i < values.size(); ++i) std::printf(" %.9g", values(i));
  } else {
    Fail(signature + " " + name + " is neither float32 nor string");
  }
  std::printf("\n");
}

tensorflow::Status Run(const tensorflow::SavedModelBundleLite& bundle, const std::string& requests,
                       const std::string& signature, std::vector<std::string>* names, std::vector<Tensor>* outputs) {
  const auto found = bundle.GetSignatures().find(signature);
  if (found == bundle.GetSignatures().end()) Fail("the model has no signature " + signature);
  std::vector<std::pair<std::string, Tensor>> inputs;
  for (const auto& [name, info] : found->second.inputs())
    inputs.emplace_back(info.name(), ReadInput(requests + "/" + signature + "/" + name, info.dtype()));
  std::vector<std::string> tensors;
  for (const auto& [name, info] : found->second.outputs()) {
    names->push_back(name);
    tensors.push_back(info.name());
  }
  return bundle.GetSession()->Run(inputs, tensors, {}, outputs);
}

void RunRefused(const tensorflow::SavedModelBundleLite& bundle, const std::string& requests) {
  for (const auto& one : fs::directory_iterator(requests)) {
    for (const auto& signature : fs::directory_iterator(one.path())) {
      std::vector<std::string> names;
      std::vector<Tensor> outputs;
      std::string answer = Run(bundle, one.path(), signature.path().filename(), &names, &outputs).ToString();
      std::replace(answer.begin(), answer.end(), '\n', ' ');
      std::printf("%s %s\n", one.path().filename().c_str(), answer.c_str());
    }
  }
}

int main(int argc, char** argv) {
  if (argc != 3 && argc != 4) Fail("usage: load_saved_model MODEL REQUESTS [refused]");
  const std::string model = argv[1], requests = argv[2];
  tensorflow::SavedModelBundleLite bundle;
  Check(tensorflow::LoadSavedModel({}, {}, model, {"serve"}, &bundle), "loading " + model);
  if (argc == 4) {
    RunRefused(bundle, requests);
    return 0;
  }
  for (const auto& entry : bundle.GetSignatures()) {
    if (entry.first.rfind("__saved_model", 0) == 0) continue;  // the loader's own entries
    std::vector<std::string> names;
    std::vector<Tensor> outputs;
    Check(Run(bundle, requests, entry.first, &names, &outputs), "running " + entry.first);
    for (size_t i = 0; i < names.size(); ++i) WriteOutput(entry.first, names[i], outputs[i]);
  }
}
