# IMAGE: AMD's with torch, rocm/pytorch:TAG
# The context is this folder, with the wheel of `tox -e dist` in it.
ARG IMAGE
FROM ${IMAGE}
# ROCm brings its own binding of AMD SMI.
RUN python -m pip install --no-cache-dir /opt/rocm/share/amd_smi
COPY install.sh alignmeter-*.whl /opt/alignmeter/
RUN sh /opt/alignmeter/install.sh '[qlora]'
ENTRYPOINT ["alignmeter"]
